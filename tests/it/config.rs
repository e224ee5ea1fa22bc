//! Configuration that changes under connected clients: those it concerns notice, the others don't.

use carillon_tests::{
    client::Client,
    driver::{Driver, Socket},
    fleet::Fleet,
    node,
    tenants::{secret_of, tenant},
    tokens::{claims, signed_by, token},
};
use serde_json::{Value, json};

async fn connected(driver: &Driver, fleet: &Fleet, token: &str) -> Socket {
    let mut socket = driver.open(&fleet.url(), Some(token), &json!({"transports": ["websocket"], "reconnection": false}));
    socket.expect("connect").await;
    socket
}

/// Proves that `socket` was never disconnected.
async fn stayed(fleet: &Fleet, tenant: &str, socket: &mut Socket) {
    fleet.publish(tenant, "fence", &Value::Null);
    socket.expect("fence").await;
    assert_eq!(socket.count("disconnect"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_rate_is_in_force_for_open_connections() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for _ in 0..20 {
        assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
    }
    let quotas = "/quotas/messages";
    fleet.push(&[tenant("acme").with(&format!("{quotas}/ratePerSecondPerConnection"), 1).with(&format!("{quotas}/burstPerConnection"), 1)]);
    client.call("rt:join", &json!({"room": "a"})).await;
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["error"]["code"], "messages_rate_per_connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_without_a_gap() {
    let (old, new) = ((Some("old"), "HS256", "first"), (Some("new"), "HS256", "second"));
    let by_old = signed_by("old", &claims("acme", 1), secret_of("acme", "first").as_bytes());
    let by_new = signed_by("new", &claims("acme", 2), secret_of("acme", "second").as_bytes());
    let fleet = Fleet::start(&[tenant("acme").with_keys(&[old]), tenant("globex")]).await;
    let node = node::start().await;
    let mut before = connected(&node, &fleet, &by_old).await;
    let mut stranger = connected(&node, &fleet, &token("globex", 1)).await;
    Client::try_connect(fleet.address(), &by_new).await.expect_err("the new key is not there yet");

    fleet.push(&[tenant("acme").with_keys(&[old, new]), tenant("globex")]);
    let mut during = connected(&node, &fleet, &by_old).await;
    let mut after = connected(&node, &fleet, &by_new).await;
    stayed(&fleet, "acme", &mut before).await;

    fleet.push(&[tenant("acme").with_keys(&[new]), tenant("globex")]);
    for socket in [&mut before, &mut during] {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    }
    assert_eq!(Client::try_connect(fleet.address(), &by_old).await.map(drop), Err("Authentication error".to_owned()));
    stayed(&fleet, "acme", &mut after).await;
    stayed(&fleet, "globex", &mut stranger).await;
    fleet.uses("acme", 1, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret_under_the_same_name_is_another_key() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let node = node::start().await;
    let mut socket = connected(&node, &fleet, &token("acme", 1)).await;
    fleet.push(&[tenant("acme").with_secret("first", b"another-secret-of-enough-bytes-for-hs256".to_vec())]);
    assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    Client::try_connect(fleet.address(), &token("acme", 1)).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_tenant_is_cut_off_and_comes_back() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let node = node::start().await;
    let mut socket = connected(&node, &fleet, &token("acme", 1)).await;
    let mut polling = node.open(&fleet.url(), Some(&token("acme", 2)), &json!({"transports": ["polling"]}));
    polling.expect("connect").await;
    let mut stranger = connected(&node, &fleet, &token("globex", 1)).await;
    fleet.push(&[tenant("acme").with("/suspended", true), tenant("globex")]);
    for socket in [&mut socket, &mut polling] {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    }
    fleet.uses("acme", 0, 0, 0).await;
    socket.tell("connect");
    assert_eq!(socket.expect("connect_error").await, "Tenant suspended: tenant_suspended");
    fleet.push(&[tenant("acme"), tenant("globex")]);
    socket.tell("connect");
    socket.expect("connect").await;
    stayed(&fleet, "globex", &mut stranger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_tenant_is_closed_for_good() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let node = node::start().await;
    let mut socket = connected(&node, &fleet, &token("acme", 1)).await;
    let mut stranger = connected(&node, &fleet, &token("globex", 1)).await;
    fleet.push(&[tenant("globex")]);
    assert_eq!(socket.expect("disconnect").await, "io server disconnect");
    socket.tell("connect");
    assert_eq!(socket.expect("connect_error").await, "Authentication error");
    stayed(&fleet, "globex", &mut stranger).await;
    fleet.push(&[tenant("acme"), tenant("globex")]);
    socket.tell("connect");
    socket.expect("connect").await;
    fleet.uses("acme", 1, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_configuration_serves_nobody() {
    let fleet = Fleet::unprogrammed().await;
    let node = node::start().await;
    let mut socket = node.open(&fleet.url(), Some(&token("acme", 1)), &json!({"reconnection": false}));
    socket.expect("connect_error").await;
    fleet.push(&[tenant("acme")]);
    socket.tell("connect");
    socket.expect("connect").await;
}
