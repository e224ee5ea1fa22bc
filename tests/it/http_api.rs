//! What a backend publishes over HTTP, and who hears it.

use carillon_tests::{
    client::Client,
    fleet::{Fleet, Setup},
    http::notify,
    node, python,
    tenants::{api_key_of, secret_of, tenant},
    tokens::{claims, signed, token},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_reaches_every_client_of_its_tenant_on_every_server() {
    let setup = Setup { servers: 2, redis: true, ..Setup::default() };
    let fleet = Fleet::with(setup, &[tenant("acme"), tenant("globex")]).await;
    fleet.is_one().await;
    let (node, python) = (node::start().await, python::start().await);
    let mut sockets = Vec::new();
    for driver in [&node, &python] {
        for server in [0, 1] {
            sockets.push(driver.open(&fleet.url_of(server), Some(&token("acme", server)), &json!({})));
        }
    }
    let mut stranger = node.open(&fleet.url_of(1), Some(&token("globex", 1)), &json!({}));
    for socket in sockets.iter_mut().chain([&mut stranger]) {
        socket.expect("connect").await;
    }
    let data = json!({"id": 7, "title": "Grüße", "price": 1.50, "big": 9007199254740993_i64});
    let answer = notify(fleet.address(), "acme", &api_key_of("acme"), &json!({"event": "record:created", "data": data})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["published"]), (202, &json!(1)), "{answer:?}");
    for socket in &mut sockets {
        assert_eq!(socket.expect("record:created").await["title"], "Grüße");
    }
    notify(fleet.address(), "globex", &api_key_of("globex"), &json!({"event": "fence", "data": null})).await;
    stranger.expect("fence").await;
    assert_eq!(stranger.count("record:created"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_users_and_many_events_at_once() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut member = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut user = Client::connect(fleet.address(), &token("acme", "u")).await;
    member.call("rt:join", &json!({"room": "lobby"})).await;
    let events = json!([
        {"event": "a", "data": 1, "room": "lobby"},
        {"event": "b", "data": 2, "users": ["u"]},
        {"event": "c", "data": [3, {"deep": true}]},
    ]);
    let answer = notify(fleet.address(), "acme", &api_key_of("acme"), &events).await;
    assert_eq!((answer.status.as_u16(), answer.json()["ids"].as_array().map(Vec::len)), (202, Some(3)), "{answer:?}");
    assert_eq!(member.expect("a").await, 1);
    assert_eq!(user.expect("b").await, 2);
    for client in [&mut member, &mut user] {
        assert_eq!(client.expect("c").await, json!([3, {"deep": true}]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_tenants_own_backend_may_publish_to_it() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex"), tenant("initech").with("/suspended", true)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let event = json!({"event": "record:created", "data": 1});
    let mut service = claims("acme", "backend");
    service["role"] = json!("service");
    let service = signed(&service, secret_of("acme", "first").as_bytes());
    for (tenant, bearer) in [
        ("acme", ""),
        ("acme", "garbage"),
        ("acme", &api_key_of("globex")),
        ("acme", &token("acme", 1)),
        ("acme", &secret_of("acme", "first")),
        ("globex", &service),
        ("nobody", &api_key_of("acme")),
        ("initech", &api_key_of("initech")),
        ("%2e%2e", &api_key_of("acme")),
    ] {
        let answer = notify(fleet.address(), tenant, bearer, &event).await;
        assert!(matches!(answer.status.as_u16(), 401 | 403 | 404), "{tenant} {bearer}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.json()["code"].is_string(), "{answer:?}");
    }
    assert_eq!(notify(fleet.address(), "acme", &service, &json!({"event": "fence", "data": null})).await.status, 202);
    client.expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_malformed_is_refused_and_heard_by_nobody() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/publish/maxBytes", 1000)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let good = json!({"event": "a", "data": 1});
    for (body, status) in [
        (json!({"event": "a", "data": "x".repeat(2000)}), 413),
        (json!([good, {"event": "a", "data": "x".repeat(2000)}]), 413),
        (json!([good, {"event": "rt:draining", "data": 1}]), 400),
        (json!([good, {"event": "connect", "data": 1}]), 400),
        (json!({"event": "", "data": 1}), 400),
        (json!({"data": 1}), 400),
        (json!({"event": "a", "data": 1, "rooms": ["x"]}), 400),
        (json!(vec![good.clone(); 101]), 400),
        (json!("a"), 400),
    ] {
        let answer = notify(fleet.address(), "acme", &api_key_of("acme"), &body).await;
        assert!(answer.status.as_u16() == status || answer.status.as_u16() == 422, "{status} for {body}: {answer:?}");
    }
    fleet.publish("acme", "fence", &Value::Null);
    client.expect("fence").await;
}
