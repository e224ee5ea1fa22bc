//! The same exactness on a Redis Cluster, where tenants lie on different nodes, and through the failover of a Sentinel.

use carillon_tests::{
    crowd::{Crowd, Habit},
    processes::Processes,
    redis::{RedisCluster, Sentinel},
};

use super::{AT_ONCE, RECOVERED, boundless, limited_to};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_redis_cluster_every_tenant_has_its_places_and_no_more() {
    const PLACES: usize = 50;
    let redis = RedisCluster::start().await;
    let tenants: Vec<_> = (0..6).map(|number| format!("tenant-{number}")).collect();
    let specs: Vec<_> = tenants.iter().map(|id| boundless(id).with("/quotas/connections/max", PLACES)).collect();
    let fleet = Processes::start_on(redis.url(), 3, &specs).await;
    let crowds: Vec<_> = tenants.iter().map(|id| Crowd::of(id, &fleet.addresses())).collect();
    for crowd in &crowds {
        crowd.watch(&[0, 1, 2]);
        crowd.enter(2 * PLACES, Habit::ONCE);
    }
    for (id, crowd) in tenants.iter().zip(&crowds) {
        crowd.settled().await;
        assert_eq!((crowd.inside(), crowd.peak()), (PLACES, PLACES), "{id}: {:?}", crowd.refusals());
        fleet.uses(RECOVERED, id, PLACES, 0).await;
        crowd.leave(5);
        crowd.enter(5, Habit { retry: Some(AT_ONCE / 10), ..Habit::ONCE });
        crowd.has_inside(AT_ONCE * 2, PLACES).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failover_of_a_sentinel_costs_nobody_its_place_and_adds_none() {
    const PLACES: usize = 100;
    let mut redis = Sentinel::start().await;
    let fleet = Processes::start_on(redis.url(), 4, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.watch(&[0, 1, 2, 3]);
    crowd.enter(60, Habit::PATIENT);
    crowd.has_inside(RECOVERED, 60).await;
    redis.fail_over().await;
    crowd.enter(3 * PLACES, Habit::PATIENT);
    crowd.has_inside(RECOVERED, PLACES).await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    crowd.leave(10);
    crowd.has_inside(AT_ONCE * 2, PLACES).await;
    assert_eq!((crowd.peak(), crowd.losses()), (PLACES, 0));
}
