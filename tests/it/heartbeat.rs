//! Whether clients are there: all are asked, on whatever transport, and who doesn't answer is gone.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    eventually::{eventually_within, is, within},
    fleet::{Fleet, Setup},
    node,
    polling::{Polling, path},
    tenants::tenant,
    tokens::token,
    websocket::{self, TEXT, WebSocket},
};
use serde_json::json;

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Until a client that doesn't answer is surely found out, on a busy machine.
const FOUND_OUT: Duration = Duration::from_secs(8);

async fn fleet() -> Fleet {
    let mut setup = Setup::default();
    (setup.heartbeat.interval, setup.heartbeat.timeout) = (INTERVAL, TIMEOUT);
    Fleet::with(setup, &[tenant("acme")]).await
}

async fn alone(fleet: &Fleet) {
    eventually_within(FOUND_OUT, "the place is free", || is(fleet.tenant("acme").usage().connections, &0)).await;
}

/// Reads text messages until `message` comes; what came before.
async fn until(socket: &mut WebSocket, message: &str) -> Vec<String> {
    let mut before = Vec::new();
    within(FOUND_OUT, message, async {
        loop {
            let frame = socket.read().await.unwrap_or_else(|| panic!("{message} comes before the end"));
            let text = String::from_utf8(frame.payload).expect("text");
            assert_eq!(frame.opcode, TEXT, "{text}");
            if text == message {
                return;
            }
            before.push(text);
        }
    })
    .await;
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_how_often_they_are_asked() {
    let fleet = fleet().await;
    let (websocket, polling) = (Client::open(fleet.address()).await.open, Polling::open(fleet.address()).await.open);
    for (open, upgrades) in [(&websocket, json!([])), (&polling, json!(["websocket"]))] {
        assert_eq!((&open["pingInterval"], &open["pingTimeout"], &open["upgrades"]), (&json!(1000), &json!(2000), &upgrades), "{open}");
        assert!(open["sid"].as_str().is_some_and(|sid| !sid.is_empty()) && open["maxPayload"].as_u64() > Some(1 << 20), "{open}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_answers_stays_and_one_that_does_not_is_gone() {
    let fleet = fleet().await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for _ in 0..4 {
        assert_eq!(until(&mut client.socket, "2").await, [""; 0], "a ping, and nothing else");
        client.socket.send("3").await;
    }
    assert_eq!(fleet.tenant("acme").usage().connections, 1);
    until(&mut client.socket, "2").await;
    within(FOUND_OUT, "the end of one that doesn't answer", client.socket.closed()).await;
    alone(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_client_says_is_a_sign_of_life() {
    let fleet = fleet().await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    // It hears four pings and answers none of them.
    for number in 0..4 {
        until(&mut client.socket, "2").await;
        client.socket.send(&format!(r#"42{number}["rt:leave",{{"room":"nowhere"}}]"#)).await;
        until(&mut client.socket, &format!(r#"43{number}[{{"ok":true,"room":"nowhere"}}]"#)).await;
    }
    assert_eq!(fleet.tenant("acme").usage().connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_polling_client_that_answers_stays_and_one_that_does_not_is_gone() {
    let fleet = fleet().await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    for _ in 0..4 {
        // It waits for the next poll when nobody polls just then.
        tokio::time::sleep(INTERVAL).await;
        assert_eq!(client.get().await.body, "2");
        assert_eq!(client.post("3").await.status, 200);
    }
    assert_eq!(client.get().await.body, "2");
    let last = within(FOUND_OUT, "the end of one that polls and doesn't answer", client.get()).await;
    assert_eq!(last.status, 400, "{last:?}");
    alone(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_polls_that_are_answered_with_pings() {
    let fleet = fleet().await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let published = async {
        for number in 0..300 {
            fleet.publish("acme", "n", &json!(number));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (mut heard, mut pings) = (Vec::new(), 0);
    let listening = async {
        while heard.len() < 300 {
            let body = client.get().await.body;
            for packet in body.split('\u{1e}') {
                if packet == "2" {
                    pings += 1;
                    client.post("3").await;
                } else {
                    heard.push(packet.to_owned());
                }
            }
        }
    };
    within(Duration::from_secs(30), "300 events", async { tokio::join!(published, listening) }).await;
    let expected: Vec<_> = (0..300).map(|number| format!(r#"42["n",{number}]"#)).collect();
    assert_eq!(heard, expected);
    assert!(pings > 1, "{pings} pings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_client_is_asked_as_a_websocket_and_gone_when_it_does_not_answer() {
    let fleet = fleet().await;
    let client = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    let upgrade = path(&client.sid).replace("polling", "websocket");
    let mut socket = websocket::open(fleet.address(), &upgrade, &[]).await.expect("the server upgrades");
    socket.send("2probe").await;
    until(&mut socket, "3probe").await;
    socket.send("5").await;
    for _ in 0..4 {
        until(&mut socket, "2").await;
        socket.send("3").await;
    }
    assert_eq!(fleet.tenant("acme").usage().connections, 1);
    within(FOUND_OUT, "the end of one that doesn't answer", socket.closed()).await;
    alone(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_stay_on_every_transport() {
    let fleet = fleet().await;
    let node = node::start().await;
    let mut sockets = Vec::new();
    for transports in [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])] {
        sockets.push(node.open(&fleet.url(), Some(&token("acme", sockets.len())), &json!({"transports": transports})));
    }
    for socket in &mut sockets {
        socket.expect("connect").await;
    }
    // As long as several clients that don't answer would last.
    tokio::time::sleep(3 * (INTERVAL + TIMEOUT)).await;
    fleet.publish("acme", "still there", &json!(1));
    for socket in &mut sockets {
        assert_eq!(socket.expect("still there").await, 1);
    }
}
