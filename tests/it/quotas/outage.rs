//! Without Redis each server keeps to its part of the limit: never unlimited, never everyone refused. Once Redis is back, or has
//! forgotten everything, all is counted right again, and nobody twice.

use std::time::Duration;

use carillon_tests::{
    crowd::{Crowd, Habit},
    eventually::{DEADLINE, eventually, eventually_async, eventually_within, is},
    processes::Processes,
};

use super::{AT_ONCE, HEALED, RECOVERED, limited_to};

const SERVERS: usize = 4;
const PLACES: usize = 100;
const SHARE: usize = PLACES / SERVERS;

/// A fleet, and so many clients on each of its servers.
async fn with_clients(counts: [usize; SERVERS]) -> (Processes, Crowd) {
    let fleet = Processes::start(SERVERS, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.watch(&[0, 1, 2, 3]);
    enter(&crowd, counts);
    crowd.has_inside(RECOVERED, counts.iter().sum()).await;
    assert_eq!(crowd.by_server(), counts);
    fleet.uses(RECOVERED, "acme", counts.iter().sum(), 0).await;
    (fleet, crowd)
}

fn enter(crowd: &Crowd, counts: [usize; SERVERS]) {
    for (server, count) in counts.into_iter().enumerate() {
        crowd.enter(count, Habit { only: Some(server), retry: Some(Duration::from_millis(300)), user: None });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_server_has_its_share() {
    let (mut fleet, crowd) = with_clients([10; SERVERS]).await;
    fleet.redis().kill();
    enter(&crowd, [40; SERVERS]);
    eventually("every server has filled its share", || is(crowd.by_server(), &vec![SHARE; SERVERS])).await;
    fleet.redis().restart().await;
    fleet.uses(HEALED, "acme", PLACES, 0).await;
    // One place is worth the same everywhere again.
    crowd.leave_from(0, 10);
    crowd.has_inside(AT_ONCE * 2, PLACES).await;
    assert_eq!((crowd.peak(), crowd.losses()), (PLACES, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_more_than_its_share_keeps_it_until_redis_is_back() {
    let (mut fleet, crowd) = with_clients([70, 5, 5, 5]).await;
    fleet.redis().kill();
    enter(&crowd, [40; SERVERS]);
    // The first server may fill what it had been granted, and no more.
    eventually("every other server has filled its share", || is(crowd.by_server()[1..].to_vec(), &vec![SHARE; SERVERS - 1])).await;
    assert_eq!(crowd.losses(), 0, "{:?}", crowd.by_server());
    assert!(crowd.peak() <= PLACES + SHARE * (SERVERS - 1), "{:?}", crowd.by_server());
    fleet.redis().restart().await;
    eventually_within(HEALED, "no more than there are places", || if crowd.inside() <= PLACES { Ok(()) } else { Err(crowd.by_server()) })
        .await;
    crowd.watch(&[0, 1, 2, 3]);
    crowd.has_inside(RECOVERED, PLACES).await;
    fleet.uses(HEALED, "acme", PLACES, 0).await;
    assert_eq!(crowd.peak(), PLACES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_everything_costs_nobody_its_place() {
    let (mut fleet, crowd) = with_clients([SHARE; SERVERS]).await;
    enter(&crowd, [10; SERVERS]);
    fleet.redis().flush().await;
    eventually_async(DEADLINE, "the servers have written down what they hold", async || {
        match fleet.redis().ask(&["KEYS", "carillon:{acme}:*"]).await {
            keys if keys.is_empty() => Err(keys),
            _ => Ok(()),
        }
    })
    .await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    assert_eq!((crowd.inside(), crowd.losses()), (PLACES, 0));
    crowd.leave_from(3, 10);
    crowd.has_inside(AT_ONCE * 2, PLACES).await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    // The hard bound is twice the limit; where every server had its share not even that is needed.
    assert_eq!((crowd.peak(), crowd.losses()), (PLACES, 0));
}
