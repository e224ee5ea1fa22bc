//! Readers that stop: they lose their place, and nobody else loses anything.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    eventually::{eventually_within, is, within_deadline},
    fleet::{Fleet, Setup},
    polling::Polling,
    tenants::tenant,
    tokens::token,
    websocket::{Frame, TEXT},
};
use serde_json::{Value, json};

use crate::MACHINE;

fn impatient() -> Setup {
    let mut setup = Setup::default();
    setup.heartbeat.interval = Duration::from_secs(1);
    setup.heartbeat.timeout = Duration::from_secs(2);
    setup
}

/// Reads `count` events `n`, numbered from 0, in a task of its own.
fn reader(mut client: Client, count: i64) -> tokio::task::JoinHandle<Client> {
    tokio::spawn(async move {
        for number in 0..count {
            assert_eq!(client.expect("n").await["n"], number);
        }
        client
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_is_gone_within_the_time_out() {
    let fleet = Fleet::with(impatient(), &[tenant("acme").with("/quotas/connections/max", 1)]).await;
    let _stopped = Client::connect(fleet.address(), &token("acme", 1)).await;
    // More than the kernel's buffers hold, fewer messages than the queue does.
    let data = Value::String("x".repeat(60_000));
    for _ in 0..300 {
        fleet.publish("acme", "record:created", &data);
    }
    eventually_within(Duration::from_secs(6), "the place is free", || is(fleet.tenant("acme").usage().connections, &0)).await;
    Client::connect(fleet.address(), &token("acme", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polling_client_that_stops_polling_is_gone_within_the_time_out() {
    let fleet = Fleet::with(impatient(), &[tenant("acme")]).await;
    let stopped = Polling::connect(fleet.address(), &token("acme", 1)).await.unwrap();
    for number in 0..100 {
        fleet.publish("acme", "n", &json!(number));
    }
    eventually_within(Duration::from_secs(6), "the place is free", || is(fleet.tenant("acme").usage().connections, &0)).await;
    assert_eq!(stopped.get().await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_quick_publishes_reach_ten_readers_whole() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut readers = Vec::new();
    for user in 0..10 {
        readers.push(reader(Client::connect(fleet.address(), &token("acme", user)).await, 1000));
    }
    for number in 0..1000 {
        fleet.publish("acme", "n", &json!({"n": number}));
    }
    for reader in readers {
        within_deadline("1,000 of 1,000 messages", reader).await.unwrap();
    }
    assert_eq!(fleet.metric(0, r#"carillon_messages_delivered_total{tenant="acme"}"#), 10_000.0);
    assert_eq!(fleet.metric(0, "carillon_slow_consumer_disconnects_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_under_load_is_cut_and_counted_and_nobody_else_loses_anything() {
    const MESSAGES: i64 = 4000;
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut stopped = Client::connect(fleet.address(), &token("acme", "stopped")).await;
    let mut pace = Client::connect(fleet.address(), &token("acme", "pace")).await;
    let mut readers = Vec::new();
    for user in 0..4 {
        readers.push(reader(Client::connect(fleet.address(), &token("acme", user)).await, MESSAGES));
    }
    let padding = "x".repeat(8000);
    for number in 0..MESSAGES {
        fleet.publish("acme", "n", &json!({"n": number, "padding": padding}));
        if number % 100 == 99 {
            // A publisher that waits for its readers, as one behind a rate limit does.
            for _ in 0..100 {
                pace.expect("n").await;
            }
        }
    }
    for reader in readers {
        within_deadline("every message", reader).await.unwrap();
    }
    assert_eq!(fleet.metric(0, "carillon_slow_consumer_disconnects_total"), 1.0);
    fleet.uses("acme", 1, 1, 0).await;
    within_deadline("the stopped reader finds itself cut", async { while stopped.next().await.is_some() {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_a_reader_that_lets_too_much_wait_is_free_within_a_second() {
    let _machine = MACHINE.lock().await;
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/max", 1)]).await;
    let _stopped = Client::connect(fleet.address(), &token("acme", 1)).await;
    let data = Value::String("x".repeat(60_000));
    let cut = || fleet.metric(0, "carillon_slow_consumer_disconnects_total");
    within_deadline("more waits than may", async {
        while cut() == 0.0 {
            fleet.publish("acme", "record:created", &data);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    eventually_within(Duration::from_secs(1), "the place is free", || is(fleet.tenant("acme").usage().connections, &0)).await;
    Client::connect(fleet.address(), &token("acme", 1)).await;
    assert_eq!(cut(), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_are_not_dropped_in_silence() {
    const ASKED: usize = 100_000;
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    let room = "r".repeat(60);
    let request = |number| Frame::new(TEXT, format!(r#"42{number}["rt:join",{{"room":"{room}"}}]"#)).encode();
    let frames: Vec<_> = (0..ASKED).map(request).collect();
    // The client sends without reading as long as the server takes it.
    let sent = client.socket.send_until_stalled(&frames.concat(), Duration::from_millis(500)).await;
    let ends = frames.iter().scan(0, |end, frame| {
        *end += frame.len();
        Some(*end)
    });
    let asked = ends.take_while(|end| *end <= sent).count();
    let mut next = 0;
    while next < asked
        && let Some(answer) = within_deadline("an answer or the end", client.packet()).await
    {
        assert!(answer.starts_with(&format!("43{next}[")), "{answer} came instead of number {next}");
        next += 1;
    }
    let cut = fleet.metric(0, "carillon_slow_consumer_disconnects_total");
    assert!(next == asked || cut == 1.0, "{next} of {asked} were answered, and the client was not cut");
}
