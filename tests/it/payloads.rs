//! How large a message may be.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    fleet::Fleet,
    polling::Polling,
    tenants::tenant,
    tokens::token,
    websocket::{BINARY, Frame},
};
use serde_json::{Value, json};

/// Above anything any tenant may be given, with room for what stands around it.
const TOO_LARGE_BYTES: usize = (1 << 20) + 8192;

fn ack(packet: &str) -> Value {
    serde_json::from_str::<Value>(&packet[packet.find('[').expect("an acknowledgement")..]).expect("JSON")[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_tenants_limit_is_refused_and_the_client_told() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/messages/maxBytes", 1000)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let answer = client.call("rt:join", &json!({"room": "a", "padding": "x".repeat(2000)})).await;
    assert_eq!(answer["ok"], false);
    let error = &answer["error"];
    assert_eq!(
        (&error["code"], &error["scope"], &error["limit"]),
        (&json!("message_bytes_max"), &json!("message"), &json!(1000)),
        "{answer}"
    );
    assert!(error["current"].as_u64().unwrap() > 2000, "{answer}");
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);

    let polling = Polling::connect(fleet.address(), &token("acme", 2)).await.unwrap();
    polling.post(&format!("421{}", json!(["rt:join", {"room": "a", "padding": "x".repeat(2000)}]))).await;
    assert_eq!(ack(&polling.next_packet("43").await)["error"]["code"], "message_bytes_max");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_count() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/messages/maxBytes", 1000)]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    client.socket.send(r#"451-5["rt:join",{"room":"a","file":{"_placeholder":true,"num":0}}]"#).await;
    client.socket.send_frame(&Frame::new(BINARY, vec![0; 2000])).await;
    let answer = client.packet().await.expect("an answer");
    assert_eq!(ack(&answer)["error"]["code"], "message_bytes_max", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_tenant_may_send_ends_the_connection() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/messages/maxBytes", 1_048_576)]).await;
    let connect = async || Client::connect(fleet.address(), &token("acme", 1)).await;
    let large = json!({"room": "a", "padding": "x".repeat(TOO_LARGE_BYTES)});

    let mut frame = connect().await;
    frame.emit("rt:join", &large).await;
    frame.ends_within(Duration::from_secs(5)).await;

    let mut fragments = connect().await;
    fragments.socket.send_frame(&Frame { flags: 0, ..Frame::new(1, "42[\"rt:join\",\"") }).await;
    for _ in 0..20 {
        fragments.socket.send_frame(&Frame { flags: 0, ..Frame::new(0, "x".repeat(100_000)) }).await;
    }
    fragments.ends_within(Duration::from_secs(5)).await;

    let mut attachment = connect().await;
    attachment.socket.send(r#"451-5["rt:join",{"_placeholder":true,"num":0}]"#).await;
    attachment.socket.send_frame(&Frame::new(BINARY, vec![0; TOO_LARGE_BYTES])).await;
    attachment.ends_within(Duration::from_secs(5)).await;

    let mut attachments = connect().await;
    attachments.socket.send(r#"4516-5["rt:join",{"_placeholder":true,"num":0}]"#).await;
    for _ in 0..16 {
        attachments.socket.send_frame(&Frame::new(BINARY, vec![0; 500_000])).await;
    }
    attachments.ends_within(Duration::from_secs(5)).await;

    let mut count = connect().await;
    count.socket.send(r#"4517-5["rt:join",{"_placeholder":true,"num":0}]"#).await;
    count.ends_within(Duration::from_secs(5)).await;

    let polling = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let response = polling.post(&format!("42{}", json!(["rt:join", large]))).await;
    assert_eq!(response.status, 413, "{response:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_allowed_gets_through() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/messages/maxBytes", 1_048_576)]).await;
    let data = json!({"room": "a", "padding": "x".repeat(1_048_576 - 60)});
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    assert_eq!(client.call("rt:join", &data).await["ok"], true);
    let polling = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    assert_eq!(polling.post(&format!("421{}", json!(["rt:join", data]))).await.status, 200);
    assert_eq!(ack(&polling.next_packet("43").await)["ok"], true);
}
