//! Messages of one connection are handled, and answered, in the order sent.

use std::sync::Arc;

use carillon_tests::{client::Client, driver::Driver, fleet::Fleet, node, polling::Polling, tenants::tenant, tokens::token};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::MACHINE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_rapid_events_are_answered_in_order() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for burst in 0..4 {
        // Half of what the server would let wait for a client that doesn't read.
        let numbers = burst * 500..(burst + 1) * 500;
        for number in numbers.clone() {
            client.socket.send(&format!(r#"42{number}["rt:join",{{"room":"r{}"}}]"#, number % 50)).await;
        }
        for number in numbers {
            let answer = client.packet().await.expect("an answer");
            assert_eq!(answer, format!(r#"43{number}[{{"ok":true,"room":"r{}"}}]"#, number % 50));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_many_joins_and_leaves_wins() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for _ in 0..500 {
        client.emit("rt:join", &json!({"room": "a"})).await;
        client.emit("rt:leave", &json!({"room": "a"})).await;
    }
    client.call("rt:join", &json!({"room": "b"})).await;
    fleet.uses("acme", 1, 1, 1).await;
    fleet.publish_in("acme", "a", "record:created", &Value::Null);
    fleet.publish_in("acme", "b", "fence", &Value::Null);
    client.expect("fence").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packets_of_one_polling_body_are_handled_in_order() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let packets: Vec<_> = (0..300).map(|number| format!(r#"42{number}["rt:join",{{"room":"r{}"}}]"#, number % 50)).collect();
    assert_eq!(client.post(&packets.join("\u{1e}")).await.status, 200);
    let mut answers = Vec::new();
    while answers.len() < 300 {
        let body = client.get().await.body;
        answers.extend(body.split('\u{1e}').filter(|packet| packet.starts_with("43")).map(str::to_owned));
    }
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.starts_with(&format!("43{number}[")), "{answer} came as number {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_clients_events_are_answered_in_order() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let node: Driver = node::start().await;
    let mut socket = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({}));
    socket.expect("connect").await;
    for number in 0..500 {
        socket.emit("rt:join", &json!({"room": format!("r{}", number % 10)}));
        socket.emit("rt:leave", &json!({"room": format!("r{}", number % 10)}));
    }
    assert_eq!(socket.call("rt:join", &json!({"room": "last"})).await["ok"], true);
    fleet.uses("acme", 1, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_in_order_arrives_in_order() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let polling = Polling::connect(fleet.address(), &token("acme", 2)).await.unwrap();
    for number in 0..500 {
        fleet.publish("acme", "n", &json!(number));
    }
    for number in 0..500 {
        assert_eq!(client.expect("n").await, number);
    }
    let mut next = 0;
    while next < 500 {
        for packet in polling.get().await.body.split('\u{1e}').filter(|packet| packet.starts_with("42")) {
            assert_eq!(packet, format!(r#"42["n",{next}]"#));
            next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_several_cores_serve_has_one_order() {
    // Enough for two cores.
    const MEMBERS: usize = 2100;
    const MESSAGES: usize = 50;
    let _machine = MACHINE.lock().await;
    let fleet = Arc::new(Fleet::start(&[tenant("acme").with("/quotas/connections/max", "Unlimited")]).await);
    let mut members = Vec::new();
    while members.len() < MEMBERS {
        let address = fleet.address();
        let mut connecting = JoinSet::new();
        for user in members.len()..members.len() + 100 {
            connecting.spawn(async move { Client::connect(address, &token("acme", user)).await });
        }
        members.extend(connecting.join_all().await);
    }
    let publishers = ["one", "other"].map(|publisher| {
        let fleet = fleet.clone();
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                fleet.publish("acme", "n", &json!([publisher, number]));
                tokio::task::yield_now().await;
            }
        })
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut order: Option<Vec<Value>> = None;
    for member in &mut members {
        let mut heard = Vec::new();
        for _ in 0..2 * MESSAGES {
            heard.push(member.expect("n").await);
        }
        assert_eq!(&heard, order.get_or_insert_with(|| heard.clone()));
    }
}
