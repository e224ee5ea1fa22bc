//! How many may be connected, and that every place is given back.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    eventually::{eventually, eventually_within, is},
    fleet::Fleet,
    node,
    polling::Polling,
    tenants::tenant,
    tokens::token,
};
use serde_json::json;

/// "At once", on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_so_many_connections_and_no_more() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/max", 2), tenant("globex")]).await;
    let first = Client::connect(fleet.address(), &token("acme", 1)).await;
    let _second = Client::connect(fleet.address(), &token("acme", 2)).await;
    let refused = Client::try_connect(fleet.address(), &token("acme", 3)).await;
    assert_eq!(refused.map(drop), Err("Quota exceeded: connections_max".to_owned()));
    Client::connect(fleet.address(), &token("globex", 3)).await;
    drop(first);
    eventually_within(AT_ONCE, "the place is free", || is(fleet.tenant("acme").usage().connections, &1)).await;
    Client::connect(fleet.address(), &token("acme", 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_connections_and_no_more() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", 1)]).await;
    let node = node::start().await;
    let mut first = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({}));
    first.expect("connect").await;
    let mut second = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({"transports": ["polling"]}));
    assert_eq!(second.expect("connect_error").await, "Quota exceeded: connections_per_user_max");
    let mut other = node.open(&fleet.url(), Some(&token("acme", 2)), &json!({}));
    other.expect("connect").await;
    first.tell("disconnect");
    eventually_within(AT_ONCE, "the place is free", || is(fleet.tenant("acme").usage().connections, &1)).await;
    second.tell("connect");
    second.expect("connect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_overshoot() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/max", 10)]).await;
    let address = fleet.address();
    let tries: Vec<_> = (0..60).map(|user| tokio::spawn(async move { Client::try_connect(address, &token("acme", user)).await })).collect();
    let mut admitted = Vec::new();
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(client) => admitted.push(client),
            Err(message) => assert_eq!(message, "Quota exceeded: connections_max"),
        }
    }
    assert_eq!(admitted.len(), 10);
    fleet.uses("acme", 10, 10, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_connection_ends_its_place_is_free_at_once() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let free = async |how| {
        eventually_within(AT_ONCE, how, || is(fleet.tenant("acme").usage().connections, &0)).await;
    };
    let connect = async || Client::connect(fleet.address(), &token("acme", 1)).await;
    drop(connect().await);
    free("the stream is closed").await;
    let mut client = connect().await;
    client.socket.send("41").await;
    free("the client disconnects from the namespace").await;
    let mut client = connect().await;
    client.socket.send("1").await;
    free("the client closes the engine").await;
    let mut client = connect().await;
    client.socket.send_bytes(&[0x88, 0x80, 1, 2, 3, 4]).await;
    free("the client closes the WebSocket").await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    client.post("41").await;
    free("a polling client disconnects from the namespace").await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    client.post("1").await;
    free("a polling client closes the engine").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_broken_connects_take_no_place() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/max", 5)]).await;
    for _ in 0..20 {
        Client::try_connect(fleet.address(), "garbage").await.unwrap_err();
        let mut hasty = Client::open(fleet.address()).await;
        hasty.socket.send(&format!("40{}", json!({"token": token("acme", 1)}))).await;
        drop(hasty);
    }
    let let_in = || fleet.metric(0, r#"carillon_connects_total{tenant="acme",result="ok"}"#);
    eventually("every hasty client was let in", || is(let_in(), &20.0)).await;
    fleet.uses("acme", 0, 0, 0).await;
    assert_eq!(fleet.metric(0, r#"carillon_connections{tenant="acme"}"#), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connect_is_counted_by_its_result() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/max", 1)]).await;
    let _client = Client::connect(fleet.address(), &token("acme", 1)).await;
    Client::try_connect(fleet.address(), &token("acme", 1)).await.unwrap_err();
    Client::try_connect(fleet.address(), "garbage").await.unwrap_err();
    let count = |tenant: &str, result: &str| fleet.metric(0, &format!(r#"carillon_connects_total{{tenant="{tenant}",result="{result}"}}"#));
    assert_eq!(count("acme", "ok"), 1.0);
    assert_eq!(count("acme", "connections_max"), 1.0);
    assert_eq!(count("_other", "token_malformed"), 1.0);
    assert_eq!(fleet.metric(0, r#"carillon_connections{tenant="acme"}"#), 1.0);
    assert_eq!(fleet.metric(0, r#"carillon_connections_limit{tenant="acme"}"#), 1.0);
}
