//! Limits over the whole fleet that change under connected clients, and limits that are only tried out.

use std::collections::BTreeMap;

use carillon_tests::{
    crowd::{Crowd, Habit},
    eventually::eventually,
    processes::Processes,
};

use super::{AT_ONCE, FULL, RECOVERED, boundless, limited_to};

const SERVERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_lets_in_and_a_lowered_one_drops_nobody() {
    let mut fleet = Processes::start(SERVERS, &[limited_to(100)]).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.enter(160, Habit::PATIENT);
    crowd.has_inside(RECOVERED, 100).await;

    fleet.push(&[limited_to(130)]).await;
    crowd.has_inside(RECOVERED, 130).await;

    fleet.push(&[limited_to(80)]).await;
    // Some room below what was used, and none below what is allowed.
    assert_eq!(crowd.leave(30), 30);
    crowd.watch(&[0, 1, 2, 3]);
    let before = refusals(&crowd);
    eventually("those outside are refused again and again", || match refusals(&crowd) - before {
        enough if enough >= 100 => Ok(()),
        refused => Err(refused),
    })
    .await;
    assert_eq!((crowd.inside(), crowd.peak(), crowd.losses()), (100, 100, 0));

    assert_eq!(crowd.leave(30), 30);
    crowd.watch(&[0, 1, 2, 3]);
    crowd.has_inside(RECOVERED, 80).await;
    fleet.uses(RECOVERED, "acme", 80, 0).await;
    assert_eq!((crowd.inside(), crowd.peak(), crowd.losses()), (80, 80, 0));
}

fn refusals(crowd: &Crowd) -> usize {
    crowd.refusals().get(FULL).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_connections_in_the_whole_fleet() {
    let fleet = Processes::start(SERVERS, &[boundless("acme").with("/quotas/connections/maxPerUser", 3)]).await;
    let (ada, others) = (Crowd::of("acme", &fleet.addresses()), Crowd::of("acme", &fleet.addresses()));
    let habit = Habit { user: Some("ada"), ..Habit::ONCE };
    ada.watch(&[0, 1, 2, 3]);
    ada.enter(40, habit);
    others.enter(40, Habit::ONCE);
    ada.settled().await;
    others.settled().await;
    assert_eq!((ada.inside(), others.inside()), (3, 40));
    assert_eq!(ada.refusals(), BTreeMap::from([("Quota exceeded: connections_per_user_max".to_owned(), 37)]));
    for server in 0..SERVERS {
        ada.leave(1);
        ada.enter(1, Habit { only: Some(server), retry: Some(AT_ONCE / 10), ..habit });
        ada.has_inside(AT_ONCE * 2, 3).await;
    }
    assert_eq!((ada.peak(), ada.losses()), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_refuses_nothing_and_counts_what_it_would_have_refused() {
    let dry = limited_to(10).with("/quotas/enforcement", "DryRun");
    let mut fleet = Processes::start(SERVERS, std::slice::from_ref(&dry)).await;
    let crowd = Crowd::of("acme", &fleet.addresses());
    crowd.enter(30, Habit::ONCE);
    crowd.settled().await;
    assert_eq!((crowd.inside(), crowd.refusals().len()), (30, 0));
    let counted = async |enforced: bool| {
        let sample = format!(r#"carillon_quota_refusals_total{{tenant="acme",code="connections_max",enforced="{enforced}"}}"#);
        fleet.metric_of_all(&sample).await
    };
    // Nobody waits for places that other servers hold in advance, so some more may be counted than would have been refused.
    let (dry, enforced) = (counted(false).await, counted(true).await);
    assert!((20.0..=25.0).contains(&dry) && enforced == 0.0, "{dry} by the dry run, {enforced} in earnest");
    fleet.uses(RECOVERED, "acme", 30, 0).await;

    // In earnest nobody is dropped either.
    fleet.push(&[limited_to(10)]).await;
    crowd.enter(10, Habit::ONCE);
    crowd.settled().await;
    assert_eq!((crowd.inside(), refusals(&crowd), crowd.losses()), (30, 10, 0));
}
