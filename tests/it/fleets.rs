//! Several fleets on one Redis: each counts its own pods, and a tenant that moves takes its clients along.

use carillon_tests::{
    client::{Client, End, Failure},
    fleet::{Fleet, Setup},
    tenants::tenant,
    tokens::token,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_tenant_that_moves_come_back_and_those_of_others_stay() {
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let setup = Setup { servers: 2, redis: true, fleets: &["default", "noisy"], ..Setup::default() };
    let fleet = Fleet::with(setup, &[acme.clone(), globex]).await;
    let (old, new) = (fleet.addresses()[0], fleet.addresses()[1]);
    let mut mover = Client::connect(old, &token("acme", 1)).await;
    let mut other = Client::connect(old, &token("globex", 1)).await;
    let mut there = Client::connect(new, &token("acme", 2)).await;

    // While it is in both, what is published in one is heard in the other.
    let data = json!({"from": "the old fleet"});
    fleet.publish("acme", "news", &data);
    assert_eq!(there.expect("news").await, data);

    fleet.move_away(0, &acme);
    assert_eq!(mover.stay().await, End::Transport, "its library tries again");
    assert_eq!(Client::attempt(old, &token("acme", 1)).await.err(), Some(Failure::Unreachable), "nobody is sent away for good");
    Client::connect(new, &token("acme", 1)).await;
    fleet.publish("globex", "news", &data);
    assert_eq!(other.expect("news").await, data);
    // Back again, it is served as before.
    fleet.push(&[acme, tenant("globex")]);
    Client::connect(old, &token("acme", 1)).await;
}
