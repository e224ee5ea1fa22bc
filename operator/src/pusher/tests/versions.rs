//! Operators and servers of different versions.

use super::*;
use crate::metrics::PodState;

const fn versions(minimum: u32, maximum: u32) -> Versions {
    Versions { minimum, maximum }
}

#[tokio::test]
async fn an_operator_speaks_to_each_pod_in_the_highest_version_both_know() {
    // What the operator speaks, what the server speaks, and what is spoken.
    let cases = [
        (versions(1, 1), versions(1, 2), false, 1),
        (versions(1, 2), versions(1, 1), false, 1),
        (versions(1, 2), versions(1, 1), true, 1),
        (versions(1, 2), versions(1, 2), false, 2),
        (versions(1, 2), versions(2, 3), false, 2),
    ];
    for (ours, theirs, names_one_version, expected) in cases {
        let (authority, server) = server().await;
        server.model().speaks = theirs;
        server.model().names_one_version = names_one_version;
        let (a1, a2) = (message("a", 1), message("a", 2));
        let mut operator = Operator::speaking(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])), ours);
        operator.until_programmed(&a1).await;
        operator.publish(std::slice::from_ref(&a2), &[]);
        operator.until_programmed(&a2).await;
        assert_eq!(server.model().heard, [expected, expected], "{ours} to {theirs}");
    }
}

#[tokio::test]
async fn a_pod_without_a_common_version_is_told_of_and_holds_up_no_other() {
    let (authority, old) = server().await;
    let new = Server::start(authority.server_config(SERVER_NAME)).await;
    new.model().speaks = versions(3, 4);
    let a1 = message("a", 1);
    let wanted = || Some(desired(std::slice::from_ref(&a1), &[]));
    let mut to_new = Operator::speaking(&authority, new.address, wanted(), versions(1, 2));
    let mut to_old = Operator::speaking(&authority, old.address, wanted(), versions(1, 2));
    to_old.until_programmed(&a1).await;
    to_new.until(&a1, |standing| *standing == Standing::Trouble(Trouble::ProtocolVersion)).await;
    assert_eq!(to_new.pusher.ledger.pod_state(), PodState::Incompatible);
    assert!(new.model().requests.iter().all(|request| request == "GET /v1/config/state"), "nothing is pushed that it can't understand");
    // An update of either mends it.
    new.model().speaks = versions(2, 3);
    to_new.until_programmed(&a1).await;
    assert_eq!(new.model().heard, [2]);
}
