//! Clients of one tenant that are refused and try again without a pause: another tenant's get in all the same.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    crowd::{Crowd, Habit},
    eventually::{eventually, within_deadline},
    processes::Processes,
    tokens::token,
};
use serde_json::json;

use super::{FULL, MACHINE, RECOVERED, boundless, limited_to};

/// How many try without a pause.
const FLOOD: usize = 100;
/// What the other tenant's clients do meanwhile.
const CONNECTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_connects_keeps_no_other_tenant_out() {
    let _machine = MACHINE.lock().await;
    let fleet = Processes::start(2, &[limited_to(1), boundless("globex")]).await;
    let flood = Crowd::of("acme", &fleet.addresses());
    flood.enter(FLOOD, Habit { retry: Some(Duration::from_millis(1)), ..Habit::ONCE });
    let refused = || flood.refusals().get(FULL).copied().unwrap_or_default();
    eventually("the flood is there", || if refused() >= FLOOD { Ok(()) } else { Err(refused()) }).await;
    let before = refused();
    let mut inside = Vec::new();
    within_deadline("every client of the other tenant is in and heard", async {
        for user in 0..CONNECTS {
            let mut client = Client::connect(fleet.address(user % 2), &token("globex", user)).await;
            assert_eq!(client.call("rt:join", &json!({"room": "lobby"})).await["ok"], true);
            inside.push(client);
        }
    })
    .await;
    assert!(refused() - before >= CONNECTS, "only {} were refused meanwhile: that is no flood", refused() - before);
    assert_eq!((flood.inside(), flood.losses()), (1, 0));
    flood.give_up();
    fleet.uses(RECOVERED, "globex", CONNECTS, 1).await;
}
