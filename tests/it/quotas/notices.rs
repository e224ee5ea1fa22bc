//! What a client is told that did not ask for an answer.

use carillon_tests::{client::Client, fleet::Fleet, node, tenants::tenant, tokens::token};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_nobody_asked_an_answer_for_is_announced() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/rooms/maxPerConnection", 1).with("/quotas/messages/maxBytes", 200)]).await;
    let node = node::start().await;
    let mut socket = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({}));
    socket.expect("connect").await;
    for room in ["a", "b"] {
        socket.emit("rt:join", &json!({"room": room}));
    }
    let mut notice = socket.expect("rt:quota").await;
    assert!(notice.as_object_mut().unwrap().remove("message").is_some_and(|message| message.is_string()), "{notice}");
    assert_eq!(notice, json!({"code": "rooms_per_connection_max", "limit": 1, "current": 1, "scope": "connection", "fatal": false}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refusals_are_announced_at_most_once_a_second() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/rooms/maxPerConnection", 1)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for number in 0..100 {
        client.emit("rt:join", &json!({"room": format!("r{number}")})).await;
    }
    client.expect("rt:quota").await;
    let answer = client.call("rt:leave", &json!({"room": "r0"})).await;
    assert_eq!(answer["ok"], true);
    fleet.publish("acme", "fence", &Value::Null);
    let mut notices = 1;
    while client.next().await.expect("the fence comes").0 != "fence" {
        notices += 1;
    }
    assert!(notices <= 3, "{notices} notices for 99 refusals at one a second");
}
