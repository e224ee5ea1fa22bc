//! Three times as many clients as places, on four servers: exactly the places are taken, whatever happens to a server.

use std::{collections::BTreeMap, time::Duration};

use carillon_tests::{
    crowd::{Crowd, Habit},
    eventually::{eventually_within, is},
    loopback::needs_open_files,
    processes::Processes,
};

use super::{AT_ONCE, FULL, MACHINE, RECOVERED, limited_to};

const SERVERS: usize = 4;
const PLACES: usize = 1000;
/// How soon a server that was paused has sent away whom it can't keep, with the time that clients take to notice.
const AWAKE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_get_in_as_there_are_places_and_every_place_can_be_taken_again() {
    needs_open_files(8192);
    let _machine = MACHINE.lock().await;
    let fleet = Processes::start(SERVERS, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.watch(&[0, 1, 2, 3]);
    crowd.enter(3 * PLACES, Habit::ONCE);
    crowd.settled().await;
    assert_eq!(crowd.inside(), PLACES);
    assert_eq!(crowd.refusals(), BTreeMap::from([(FULL.to_owned(), 2 * PLACES)]));
    fleet.uses(AT_ONCE * 5, "acme", PLACES, 0).await;

    // The last places of the fleet, wherever they were and wherever they are wanted.
    for server in 0..SERVERS {
        assert_eq!(crowd.leave_from((server + 1) % SERVERS, 10), 10);
        crowd.enter(10, Habit { only: Some(server), retry: Some(AT_ONCE / 10), user: None });
        crowd.has_inside(AT_ONCE * 5, PLACES).await;
    }
    fleet.uses(AT_ONCE * 5, "acme", PLACES, 0).await;
    assert_eq!((crowd.peak(), crowd.losses()), (PLACES, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_killed_server_come_back_elsewhere_and_are_counted_once() {
    needs_open_files(8192);
    let mut fleet = Processes::start(SERVERS, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.watch(&[0, 1, 2, 3]);
    crowd.enter(PLACES + 200, Habit::PATIENT);
    crowd.has_inside(RECOVERED * 2, PLACES).await;
    let lost = crowd.by_server()[1];
    assert!(lost > 0, "{:?}", crowd.by_server());

    fleet.kill(1).await;
    eventually_within(AT_ONCE, "its clients notice", || is(crowd.by_server()[1], &0)).await;
    crowd.has_inside(RECOVERED, PLACES).await;
    assert_eq!((crowd.by_server()[1], crowd.losses()), (0, lost));
    fleet.uses(AT_ONCE, "acme", PLACES, 0).await;

    fleet.restart(1).await;
    crowd.leave(20);
    crowd.has_inside(RECOVERED, PLACES).await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    // Nor did the new one let anybody in before it knew of the others.
    let evictions = fleet.metric_of_all("carillon_quota_evictions_total").await;
    assert_eq!((crowd.peak(), evictions), (PLACES, 0.0), "{:?}", crowd.by_server());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_paused_sends_away_whose_places_were_taken() {
    needs_open_files(8192);
    let mut fleet = Processes::start(SERVERS, &[limited_to(PLACES)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.enter(PLACES, Habit::PATIENT);
    crowd.has_inside(RECOVERED * 2, PLACES).await;
    let asleep = crowd.by_server()[2];
    assert!(asleep > 0, "{:?}", crowd.by_server());

    fleet.stop(2).await;
    crowd.go_to(&[0, 1, 3]);
    crowd.watch(&[0, 1, 3]);
    crowd.enter(asleep + 50, Habit::PATIENT);
    // The time that it is paused is the thing under test here.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(crowd.peak(), PLACES, "never more on the servers that ran, and the places of the paused one were taken");
    assert_eq!(crowd.by_server()[2], asleep, "nobody told its clients yet");

    fleet.cont(2).await;
    eventually_within(AWAKE, "no more than there are places", || if crowd.inside() <= PLACES { Ok(()) } else { Err(crowd.by_server()) })
        .await;
    crowd.watch(&[0, 1, 2, 3]);
    crowd.has_inside(RECOVERED, PLACES).await;
    fleet.uses(RECOVERED, "acme", PLACES, 0).await;
    assert_eq!(crowd.peak(), PLACES);
}
