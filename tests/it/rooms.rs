//! Rooms: who may join how many, and who hears what.

use carillon_tests::{client::Client, fleet::Fleet, node, tenants::tenant, tokens::token};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rooms_message_reaches_its_members_only() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let node = node::start().await;
    let mut member = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({}));
    let mut outsider = node.open(&fleet.url(), Some(&token("acme", 2)), &json!({"transports": ["websocket"]}));
    member.expect("connect").await;
    outsider.expect("connect").await;
    assert_eq!(member.call("rt:join", &json!({"room": "record:orders"})).await, json!({"ok": true, "room": "record:orders"}));
    fleet.publish_in("acme", "record:orders", "record:created", &json!({"id": 1}));
    assert_eq!(member.expect("record:created").await, json!({"id": 1}));
    assert_eq!(member.call("rt:leave", &json!({"room": "record:orders"})).await, json!({"ok": true, "room": "record:orders"}));
    fleet.publish_in("acme", "record:orders", "record:created", &json!({"id": 2}));
    fleet.publish("acme", "fence", &Value::Null);
    for (socket, heard) in [(&mut member, 1), (&mut outsider, 0)] {
        socket.expect("fence").await;
        assert_eq!(socket.count("record:created"), heard);
    }
    fleet.uses("acme", 2, 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_one_name_stay_apart_between_tenants() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut acme = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut globex = Client::connect(fleet.address(), &token("globex", 1)).await;
    for client in [&mut acme, &mut globex] {
        client.call("rt:join", &json!({"room": "lobby"})).await;
    }
    fleet.publish_in("acme", "lobby", "record:created", &json!(1));
    assert_eq!(acme.expect("record:created").await, 1);
    fleet.publish_in("globex", "lobby", "fence", &Value::Null);
    globex.expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_none_are_refused() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for room in [json!({"room": "tenant:acme"}), json!({"room": "tenant:globex"}), json!({"room": ""}), json!({"room": "x".repeat(10_000)})]
        .into_iter()
        .chain([json!({"room": 1}), json!({"room": ["a"]}), json!({}), Value::Null, json!("a")])
    {
        let answer = client.call("rt:join", &room).await;
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"], &answer["error"]["fatal"]),
            (&json!(false), &json!("room_not_allowed"), &json!(true))
        );
    }
    fleet.uses("acme", 1, 1, 0).await;
    fleet.publish("globex", "record:created", &json!(1));
    fleet.publish("acme", "fence", &Value::Null);
    client.expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_in_so_many_rooms_and_no_more() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/rooms/maxPerConnection", 2)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for room in ["a", "b", "a"] {
        assert_eq!(client.call("rt:join", &json!({"room": room})).await["ok"], true);
    }
    let answer = client.call("rt:join", &json!({"room": "c"})).await;
    let mut error = answer["error"].clone();
    assert!(error.as_object_mut().unwrap().remove("message").is_some_and(|message| message.is_string()));
    assert_eq!(answer["ok"], false);
    assert_eq!(error, json!({"code": "rooms_per_connection_max", "limit": 2, "current": 2, "scope": "connection", "fatal": false}));
    client.call("rt:leave", &json!({"room": "a"})).await;
    assert_eq!(client.call("rt:join", &json!({"room": "c"})).await["ok"], true);
    fleet.uses("acme", 1, 1, 2).await;
    let refusals = fleet.metric(0, r#"carillon_quota_refusals_total{tenant="acme",code="rooms_per_connection_max",enforced="true"}"#);
    assert_eq!(refusals, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_clients_may_not_emit_is_refused() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut other = Client::connect(fleet.address(), &token("acme", 2)).await;
    for event in ["record:created", "user:status", "rt:draining", "", "connect", "disconnect", "__proto__"] {
        let answer = client.call(event, &json!({})).await;
        assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("event_not_allowed")), "{event}");
    }
    fleet.publish("acme", "fence", &Value::Null);
    other.expect("fence").await;
}
