//! Clients that come and go at random on servers that crash at random: in the end everything is counted right.

use std::{env, time::Duration};

use carillon_tests::{
    crowd::{Crowd, Habit},
    processes::Processes,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use super::{RECOVERED, limited_to};

const SERVERS: usize = 4;
const PLACES: usize = 200;
/// How long it goes on, unless `CARILLON_CHURN_SECONDS` says otherwise.
const SECONDS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_random_comings_goings_and_crashes_usage_is_what_a_recount_finds() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seed = number("CARILLON_CHURN_SEED").unwrap_or_else(rand::random);
    eprintln!("the same again: CARILLON_CHURN_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut fleet = Processes::start(SERVERS, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.watch(&[0, 1, 2, 3]);
    crowd.enter(PLACES * 3 / 2, Habit::PATIENT);
    let end = Instant::now() + Duration::from_secs(number("CARILLON_CHURN_SECONDS").unwrap_or(SECONDS));
    let mut up: Vec<usize> = (0..SERVERS).collect();
    while Instant::now() < end {
        match chance.random_range(0..100) {
            // At most two servers are away at a time.
            0..5 if up.len() > SERVERS - 2 => {
                let victim = *up.choose(&mut chance).expect("servers are up");
                fleet.kill(victim).await;
                up.retain(|server| *server != victim);
            }
            5..15 if up.len() < SERVERS => {
                let back = (0..SERVERS).find(|server| !up.contains(server)).expect("one is away");
                fleet.restart(back).await;
                up.push(back);
            }
            15..30 => {
                let server = *up.choose(&mut chance).expect("servers are up");
                let gone = crowd.leave_from(server, chance.random_range(1..40));
                crowd.enter(gone, Habit::PATIENT);
            }
            _ => {
                let gone = crowd.leave(chance.random_range(1..10));
                crowd.enter(gone, Habit::PATIENT);
            }
        }
        // The pace of the churn.
        sleep(Duration::from_millis(chance.random_range(20..150))).await;
    }
    for server in (0..SERVERS).filter(|server| !up.contains(server)) {
        fleet.restart(server).await;
    }
    assert!(crowd.peak() <= PLACES, "{} were connected at once", crowd.peak());
    crowd.has_inside(RECOVERED, PLACES).await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    crowd.give_up();
    crowd.leave(chance.random_range(1..PLACES));
    fleet.uses(RECOVERED, "acme", crowd.inside(), 0).await;
    assert!(crowd.peak() <= PLACES, "{} were connected at once", crowd.peak());
}
