//! Everything that a connection does, at once: nothing is lost, doubled, altered or out of order.

use std::time::Duration;

use carillon_tests::{
    driver::{Driver, Socket},
    fleet::{Fleet, Setup},
    node,
    tenants::tenant,
    tokens::token,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::MACHINE;

/// Messages of the tenant.
const MESSAGES: usize = 400;
/// Clients of each kind.
const CLIENTS: usize = 15;
/// How fast they come.
const INTERVAL: Duration = Duration::from_millis(15);

/// A few large messages, some that don't fit one packet of the network, and many small ones.
fn message(number: usize) -> Value {
    let bytes = match number {
        _ if number % 25 == 24 => 65_000,
        _ if number.is_multiple_of(5) => 8_000,
        _ => 100,
    };
    let padding: String = (0..bytes).map(|_| char::from(rand::random_range(b' '..=b'~'))).collect();
    let sha256: String = Sha256::digest(&padding).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"number": number, "padding": padding, "sha256": sha256})
}

fn open(checker: &Driver, fleet: &Fleet, user: &str, options: &Value) -> Socket {
    checker.open(&fleet.url(), Some(&token("acme", user)), options)
}

/// What the client has seen must be everything from its first message on.
async fn check(socket: &mut Socket, transport: &str) -> Value {
    let result = socket.expect("result").await;
    let first = result["first"].as_u64().expect("it heard something");
    assert_eq!(result["transport"], transport, "{result}");
    assert_eq!(result["heard"].as_u64(), Some(MESSAGES as u64 - first), "{result}");
    for fault in ["disordered", "altered", "wrong"] {
        assert_eq!(result[fault], 0, "{result}");
    }
    assert!(result["answered"].as_u64() > Some(10), "{result}");
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_every_kind_hear_everything_while_they_ask_and_pause_and_upgrade() {
    let _machine = MACHINE.lock().await;
    let mut setup = Setup::default();
    setup.heartbeat.interval = Duration::from_secs(1);
    let fleet = Fleet::with(setup, &[tenant("acme")]).await;
    let checker = node::checker().await;
    let options = |transport: &str| json!({"transports": [transport]});
    let mut early = Vec::new();
    for transport in ["websocket", "polling"] {
        for index in 0..CLIENTS {
            early.push((open(&checker, &fleet, &format!("{transport}-{index}"), &options(transport)), transport));
        }
    }
    for (socket, _) in &mut early {
        socket.expect("connect").await;
    }
    let mut upgrading = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    for number in 0..MESSAGES {
        // They come as every client does by default: long-polling first, and upgraded under load.
        if number % 10 == 5 && upgrading.len() < CLIENTS {
            upgrading.push(open(&checker, &fleet, &format!("upgrading-{}", upgrading.len()), &json!({})));
        }
        ticks.tick().await;
        fleet.publish("acme", "numbered", &message(number));
    }
    fleet.publish("acme", "end", &Value::Null);

    let (mut pings, mut pauses) = (0, 0);
    for (socket, transport) in &mut early {
        let result = check(socket, transport).await;
        assert_eq!(result["first"], 0, "{result}");
        pings += result["pings"].as_u64().unwrap_or_default();
        pauses += result["pauses"].as_u64().unwrap_or_default();
    }
    for socket in &mut upgrading {
        check(socket, "websocket").await;
    }
    assert!(pings > 0 && pauses > 0, "{pings} pings, {pauses} pauses");
    assert_eq!(fleet.metric(0, "carillon_slow_consumer_disconnects_total"), 0.0);
}
