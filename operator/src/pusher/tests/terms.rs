//! What becomes of a pusher when leaders follow one another.

use super::*;

#[tokio::test]
async fn a_new_leader_makes_sure_that_a_pod_takes_nothing_more_from_the_one_before() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[]))).until_programmed(&a1).await;
    server.model().position = Position::new(0, 9);
    server.model().requests.clear();
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    // The next change shows that it was told once.
    let a2 = message("a", 2);
    let told = async {
        while server.model().position != POSITION {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the pod is told in time");
    operator.publish(std::slice::from_ref(&a2), &[]);
    operator.until_programmed(&a2).await;
    assert_eq!(server.model().requests, ["GET /v1/config/state", "PATCH /v1/config", "PATCH /v1/config"]);
}

#[tokio::test]
async fn a_leader_that_was_replaced_hears_of_it_from_a_pod_and_says_no_more() {
    let (authority, server) = server().await;
    let (a1, a2, a3) = (message("a", 1), message("a", 2), message("a", 3));
    let later = Position::new(POSITION.epoch.get() + 1, 1);
    let hears = async |operator: &mut Operator| {
        let heard = tokio::time::timeout(Duration::from_secs(20), operator.heard.changed()).await;
        heard.expect("it is heard in time").unwrap();
        assert_eq!(*operator.heard.borrow(), later.epoch);
    };
    // By a push that is refused.
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    server.model().position = later;
    operator.publish(std::slice::from_ref(&a2), &[]);
    hears(&mut operator).await;
    operator.publish(std::slice::from_ref(&a3), &[]);
    while operator.reports.recv().await.is_some() {}
    // By a look at what the pod runs.
    let mut restarted = Operator::start(&authority, server.address, Some(desired(&[a3], &[])));
    hears(&mut restarted).await;
    let model = server.model();
    assert_eq!(model.requests, ["GET /v1/config/state", "PUT /v1/config/snapshot", "PATCH /v1/config", "GET /v1/config/state"]);
    assert_eq!(model.applied[&a1.tenant_id], a1.config_version);
}

#[tokio::test]
async fn nothing_is_pushed_once_the_term_is_over() {
    let (authority, server) = server().await;
    let (a1, a2) = (message("a", 1), message("a", 2));
    for paused in [false, true] {
        let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
        operator.until_programmed(&a1).await;
        match operator.until.take() {
            // As after a pause: nobody came to say so, but the clock does.
            Some(until) if paused => {
                until.send_replace(Instant::now());
                operator.until = Some(until);
            }
            _ => {}
        }
        operator.publish(std::slice::from_ref(&a2), &[]);
        // The task ends, and with it its way to report.
        while operator.reports.recv().await.is_some() {}
    }
    assert_eq!(server.model().applied[&a1.tenant_id], a1.config_version);
}
