//! What becomes of a pusher when most tenants are gone.

use super::*;
use crate::fuse::tests::{Publisher, name};

impl Operator {
    /// Waits until the pod is said to lose too much.
    async fn until_excess(&mut self) -> Vec<TenantId> {
        let told = async {
            loop {
                if let Report::Excess(_, excess) = self.reports.recv().await.unwrap() {
                    return excess;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told in time")
    }

    fn publish_as(&self, judged: &Desired) {
        let Desired { position, fleet, tenants, keep, released, .. } = judged;
        let copy = Desired::new(*position, fleet.clone(), tenants.clone(), keep.clone()).releasing(released.clone());
        self.desired.send_replace(Some(Arc::new(copy)));
    }
}

#[tokio::test]
async fn an_operator_that_comes_back_to_find_most_tenants_gone_takes_none_from_its_pods() {
    let (authority, server) = server().await;
    let all: Vec<_> = (0..30).map(|number| message(&name(number), 1)).collect();
    Operator::start(&authority, server.address, Some(desired(&all, &[]))).until_programmed(&all[29]).await;
    server.model().requests.clear();

    // It knows ten of them, and nothing of what was.
    let (mut publisher, now) = (Publisher::default(), Instant::now());
    let mut operator = Operator::start(&authority, server.address, None);
    operator.publish_as(publisher.publish(0..10, 1, None, now));
    let excess = operator.until_excess().await;
    assert_eq!(excess.len(), 20);
    assert_eq!(server.model().requests, ["GET /v1/config/state"], "nothing was pushed");
    publisher.fuse.hold(excess);

    // Changes go out meanwhile.
    operator.publish_as(publisher.publish(0..10, 2, None, now));
    operator.until_programmed(&message("tenant-009", 2)).await;
    assert_eq!(server.model().applied.len(), 30);
    assert_eq!(operator.pusher.ledger.runs(&id("tenant-029")), Some(Some(all[29].config_version.clone())));

    // A pod that restarts meanwhile can't be given what only pods knew, and is given the rest.
    let code = publisher.fuse.blown().unwrap().code.clone();
    operator.publish_as(publisher.publish(0..10, 3, Some(&code), now));
    operator.until_programmed(&message("tenant-000", 3)).await;
    assert_eq!(server.model().applied.len(), 10, "it was said that they are to be removed");
    assert!(server.model().requests.iter().all(|request| !request.starts_with("PUT")));
}

#[tokio::test]
async fn a_pod_that_restarts_while_tenants_are_held_gets_them_again() {
    let (authority, server) = server().await;
    let (mut publisher, now) = (Publisher::default(), Instant::now());
    let mut operator = Operator::start(&authority, server.address, None);
    operator.publish_as(publisher.publish(0..30, 1, None, now));
    operator.until_programmed(&message("tenant-029", 1)).await;
    operator.publish_as(publisher.publish(0..10, 2, None, now));
    operator.until_programmed(&message("tenant-000", 2)).await;
    assert_eq!(server.model().applied.len(), 30);
    server.restart();
    while server.model().applied.is_empty() {
        tokio::time::timeout(Duration::from_secs(20), operator.reports.recv()).await.expect("in time");
    }
    assert_eq!(server.model().applied[&id("tenant-029")], message("tenant-029", 1).config_version);
    // All are back.
    operator.publish_as(publisher.publish(0..30, 3, None, now));
    operator.until_programmed(&message("tenant-029", 3)).await;
    assert_eq!(publisher.fuse.blown(), None);
}
