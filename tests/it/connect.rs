//! The namespace, and CONNECT in orders that clients seldom use.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use carillon_tests::{client::Client, fleet::Fleet, tenants::tenant, tokens::token};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_main_namespace_exists() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for number in 0..500 {
        client.socket.send(&format!("40/t/acme{number},{}", json!({"token": token("acme", 1)}))).await;
    }
    for number in 0..500 {
        let answer = client.packet().await.expect("an answer");
        assert!(answer.starts_with(&format!("44/t/acme{number},")) && answer.contains("Invalid namespace"), "{answer}");
    }
    assert_eq!(client.call("rt:join", &json!({"room": "a"})).await["ok"], true);
    fleet.uses("acme", 1, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_connect_again_on_the_same_transport() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
    for turn in 0..50 {
        client.call("rt:join", &json!({"room": format!("r{turn}")})).await;
        client.socket.send("41").await;
        connect_again(&mut client, &token("acme", turn)).await;
    }
    fleet.uses("acme", 1, 1, 0).await;
    client.socket.send("41").await;
    connect_again(&mut client, &token("globex", 1)).await;
    fleet.uses("acme", 0, 0, 0).await;
    fleet.publish("acme", "record:created", &Value::Null);
    fleet.publish("globex", "fence", &Value::Null);
    client.expect("fence").await;
}

/// The engine ignores a CONNECT that comes while it still finishes the one before, although that was answered: then it is sent again.
async fn connect_again(client: &mut Client, token: &str) {
    let auth = json!({"token": token});
    loop {
        if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), client.authenticate(&auth)).await {
            return answer.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_twice_leaks_nothing() {
    let fleet = Fleet::start(&[tenant("acme"), tenant("globex")]).await;
    for second in ["acme", "globex"] {
        let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
        client.call("rt:join", &json!({"room": "a"})).await;
        for _ in 0..5 {
            client.socket.send(&format!("40{}", json!({"token": token(second, 2)}))).await;
        }
        // Whatever the server makes of it: it goes on serving or ends, and then nothing is left.
        client.socket.send(r#"427["rt:leave",{"room":"a"}]"#).await;
        while client.packet().await.is_some_and(|packet| !packet.starts_with("437")) {}
        drop(client);
        fleet.uses("acme", 0, 0, 0).await;
        fleet.uses("globex", 0, 0, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_connects_is_cut() {
    let mut setup = carillon_tests::fleet::Setup::default();
    setup.heartbeat.connect_timeout = Duration::from_secs(1);
    let fleet = Fleet::with(setup, &[tenant("acme")]).await;
    let mut client = Client::open(fleet.address()).await;
    client.ends_within(Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_right_after_connect_is_answered() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    for _ in 0..100 {
        let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
        assert_eq!(client.call("rt:join", &json!({"room": "a"})).await, json!({"ok": true, "room": "a"}));
        fleet.publish_in("acme", "a", "record:created", &json!(1));
        assert_eq!(client.expect("record:created").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_published_once_the_client_is_connected_is_heard() {
    let fleet = Fleet::start(&[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    let (begun, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                fleet.publish("acme", "n", &json!(begun.fetch_add(1, Ordering::SeqCst) + 1));
                std::thread::park_timeout(Duration::from_micros(50));
            }
        });
        tokio::task::block_in_place(|| {
            let _end = End(&ended);
            tokio::runtime::Handle::current().block_on(async {
                for _ in 0..300 {
                    let mut client = Client::connect(fleet.address(), &token("acme", 1)).await;
                    let before = begun.load(Ordering::SeqCst);
                    let first = client.expect("n").await.as_u64().unwrap();
                    assert!(first <= before + 1, "the first message heard is number {first}, but number {} was published", before + 1);
                    assert_eq!(client.expect("n").await, first + 1);
                }
            });
        });
    });
}

/// Ends the publisher, however the test ends.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
