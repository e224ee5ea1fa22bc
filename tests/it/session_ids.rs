//! The engine's session id is a capability: what others may see of it opens nothing.

use carillon_tests::{
    client::{Client, WEBSOCKET_PATH},
    fleet::Fleet,
    polling::{Polling, path},
    tenants::tenant,
    tokens::token,
    websocket,
};
use serde_json::{Value, json};

/// Tries everything a session id is good for.
async fn opens_nothing(fleet: &Fleet, id: &str) {
    let anybody = Polling { address: fleet.address(), sid: id.to_owned(), open: Value::Null };
    for response in [anybody.get().await, anybody.post(r#"42["user:online",{}]"#).await, anybody.post("1").await] {
        assert_eq!(response.status, 400, "{id}: {response:?}");
        assert_eq!(response.json()["message"], "Session ID unknown", "{id}");
    }
    let upgrade = websocket::open(fleet.address(), &format!("{WEBSOCKET_PATH}&sid={id}"), &[]).await;
    assert_eq!(upgrade.err(), Some(400), "{id}");
}

fn encoded(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_id_opens_nothing() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut websocket = Client::connect(fleet.address(), &token("acme", 1)).await;
    opens_nothing(&fleet, &websocket.id).await;
    opens_nothing(&fleet, websocket.open["sid"].as_str().unwrap()).await;
    let polling = Polling::open(fleet.address()).await;
    polling.post(&format!("40{}", json!({"token": token("acme", 2)}))).await;
    let connected = polling.next_packet("40").await;
    let connected: Value = serde_json::from_str(&connected[2..]).unwrap();
    opens_nothing(&fleet, connected["sid"].as_str().unwrap()).await;
    // Nobody was disturbed, and nobody acted for them.
    fleet.publish("acme", "fence", &json!(1));
    websocket.expect("fence").await;
    assert_eq!(polling.next_packet("42").await, r#"42["fence",1]"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_id_opens_nothing() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let victim = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let other = Polling::connect(fleet.address(), &token("acme", 2)).await.unwrap();
    assert!(encoded(&victim.sid), "{}", victim.sid);
    let [pod, mac, sid] = victim.sid.splitn(3, '.').collect::<Vec<_>>().try_into().unwrap();
    let [_, others_mac, _] = other.sid.splitn(3, '.').collect::<Vec<_>>().try_into().unwrap();
    let (first, rest) = mac.split_at(1);
    let changed = if first == "A" { "B" } else { "A" };
    for forged in [
        sid.to_owned(),
        format!("{pod}.{sid}"),
        format!("{pod}..{sid}"),
        format!("{pod}.{rest}.{sid}"),
        format!("{pod}.{changed}{rest}.{sid}"),
        format!("{pod}.{others_mac}.{sid}"),
        format!("{pod}.{mac}{mac}.{sid}"),
        format!("0000000000000000.{mac}.{sid}"),
        format!("127.0.0.1:1.{mac}.{sid}"),
        format!("{pod}.{mac}.{sid}.x"),
        format!("{pod}.{mac}."),
        "..".to_owned(),
        String::new(),
    ] {
        opens_nothing(&fleet, &forged).await;
    }
    fleet.publish("acme", "fence", &json!(1));
    assert_eq!(victim.next_packet("42").await, r#"42["fence",1]"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_sessions_id_opens_nothing() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    client.post("1").await;
    fleet.uses("acme", 0, 0, 0).await;
    opens_nothing(&fleet, &client.sid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_gets_one_websocket() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let upgrade = path(&client.sid).replace("polling", "websocket");
    let mut socket = websocket::open(fleet.address(), &upgrade, &[]).await.expect("the server upgrades");
    assert_eq!(websocket::open(fleet.address(), &upgrade, &[]).await.err(), Some(400), "another while the first is about to be it");
    socket.send("2probe").await;
    assert_eq!(socket.next().await.unwrap().payload, b"3probe");
    socket.send("5").await;
    fleet.publish("acme", "n", &json!(1));
    assert_eq!(socket.next().await.unwrap().payload, br#"42["n",1]"#);
    assert_eq!(websocket::open(fleet.address(), &upgrade, &[]).await.err(), Some(400), "another afterwards");
    fleet.publish("acme", "n", &json!(2));
    assert_eq!(socket.next().await.unwrap().payload, br#"42["n",2]"#);
}
