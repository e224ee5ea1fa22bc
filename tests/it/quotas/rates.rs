//! How fast one connection may send.

use std::time::Duration;

use carillon_tests::{client::Client, eventually::within_deadline, fleet::Fleet, tenants::tenant, tokens::token};
use serde_json::{Value, json};

fn limited(per_second: u32, burst: u32) -> carillon_tests::tenants::Tenant {
    tenant("acme").with("/quotas/messages/ratePerSecondPerConnection", per_second).with("/quotas/messages/burstPerConnection", burst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_let_through_and_what_comes_after_it_refused() {
    let fleet = Fleet::start(&[limited(1, 5)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut other = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut answers = Vec::new();
    for number in 0..20 {
        client.socket.send(&format!(r#"42{number}["rt:join",{{"room":"a"}}]"#)).await;
    }
    for _ in 0..20 {
        let packet = client.packet().await.expect("an answer");
        answers.push(serde_json::from_str::<Value>(&packet[packet.find('[').unwrap()..]).unwrap()[0].clone());
    }
    let (admitted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["ok"] == true);
    // One more for each second that the machine took.
    assert!((5..=7).contains(&admitted.len()), "{answers:#?}");
    for answer in refused {
        let error = &answer["error"];
        assert_eq!(
            (&error["code"], &error["scope"], &error["limit"]),
            (&json!("messages_rate_per_connection"), &json!("connection"), &json!(1))
        );
        assert!((1..=1000).contains(&error["retryAfterMs"].as_u64().unwrap()) && error["fatal"] == false, "{error}");
    }
    assert_eq!(other.call("rt:join", &json!({"room": "a"})).await["ok"], true, "another connection has its own rate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_as_told_helps() {
    let fleet = Fleet::start(&[limited(5, 2)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let refused = loop {
        let answer = client.call("rt:join", &json!({"room": "a"})).await;
        if answer["ok"] == false {
            break answer;
        }
    };
    // The wait is the thing under test here.
    tokio::time::sleep(Duration::from_millis(refused["error"]["retryAfterMs"].as_u64().unwrap())).await;
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_without_answers_is_announced_at_most_once_a_second_and_counted() {
    let fleet = Fleet::start(&[limited(1, 1)]).await;
    let mut flood = Client::connect(fleet.address(), &token("acme", 1)).await;
    let mut quiet = Client::connect(fleet.address(), &token("acme", 2)).await;
    for _ in 0..1000 {
        flood.emit("user:online", &json!({})).await;
    }
    let notice = flood.expect("rt:quota").await;
    assert_eq!(notice["code"], "messages_rate_per_connection");
    let refusals =
        || fleet.metric(0, r#"carillon_quota_refusals_total{tenant="acme",code="messages_rate_per_connection",enforced="true"}"#);
    let received = || fleet.metric(0, r#"carillon_messages_received_total{tenant="acme"}"#);
    carillon_tests::eventually::eventually("all were handled", || carillon_tests::eventually::is(received(), &1000.0)).await;
    fleet.publish("acme", "fence", &Value::Null);
    let mut heard = 0;
    within_deadline("the fence", async {
        while quiet.next().await.expect("the fence comes").0 != "fence" {
            heard += 1;
        }
    })
    .await;
    assert_eq!(f64::from(heard) + refusals(), 1000.0);
    assert!(heard <= 3, "{heard} were let through at one a second");
}
