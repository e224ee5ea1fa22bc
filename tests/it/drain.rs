//! A server that goes: its clients are told, and come back elsewhere.

use std::time::{Duration, Instant};

use carillon_tests::{
    client::Client,
    eventually::within_deadline,
    fleet::{Fleet, Setup},
    http,
    tenants::tenant,
    tokens::token,
};
use hyper::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_and_closed_little_by_little() {
    let setup = Setup { drain_window: Duration::from_secs(2), ..Setup::default() };
    let mut fleet = Fleet::with(setup, &[tenant("acme").with("/quotas/connections/maxPerUser", "Unlimited")]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(fleet.address(), &token("acme", 1)).await);
    }
    let address = fleet.address();
    let began = Instant::now();
    let leaving: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                assert_eq!(client.expect("rt:draining").await, json!({"reconnectWithinMs": 2000}));
                client.ends_within(Duration::from_secs(10)).await;
                Instant::now()
            })
        })
        .collect();
    fleet.shut_down(0).await;
    assert!(
        http::try_request(address, Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "")
            .await
            .is_none_or(|response| response.status == 503)
    );
    let mut ends = Vec::new();
    for client in leaving {
        ends.push(within_deadline("a client's end", client).await.unwrap() - began);
    }
    ends.sort();
    let spread = ends[19] - ends[0];
    assert!(spread > Duration::from_secs(1), "all ended within {spread:?}: a herd");
    assert!(ends[19] < Duration::from_secs(4), "the last ended after {:?}", ends[19]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_while_a_server_goes() {
    let fleet = Fleet::start(&[tenant("acme")]).await;
    let mut early = Client::open(fleet.address()).await;
    fleet.server(0).core().start_draining();
    // A refusal would keep the client from coming back by itself; the end of its transport makes it.
    let connect = json!({"token": token("acme", 1)});
    early.socket.send(&format!("40{connect}")).await;
    early.ends_within(Duration::from_secs(2)).await;
    let response = http::request(fleet.address(), Method::GET, "/socket.io/?EIO=4&transport=polling", &[], "").await;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, "1"));
}
