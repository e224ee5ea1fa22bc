//! Clocks that are minutes away from the API server's and the pods'.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use carillon_tests::{
    cluster::{SLOW, Team, eventually},
    control_plane::{ControlPlane, Fault},
    operator::Operator,
};
use serde_json::json;

use super::{SOON, all_hear, clients, fleet, leads, limit};

/// How long a deleted tenant waits, at most, for pods that don't answer.
const DROP_DEADLINE: Duration = Duration::from_secs(60);

/// What lets a program see another time. Its stop-watch stays as it is.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("there is a /usr/lib").flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    libraries.next().expect("libfaketime is installed (Debian package libfaketime)")
}

/// A replica whose clock is so far away from everyone else's.
async fn operator_at(plane: &ControlPlane, identity: &str, offset: &str) -> Operator {
    let library = library();
    let preload = library.to_str().expect("its path is UTF-8");
    let environment = [("LD_PRELOAD", preload), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")];
    plane.operator_with(identity, &environment).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn five_minutes_between_clocks_change_no_promise() {
    let plane = ControlPlane::start().await;
    let ahead = operator_at(&plane, "ahead", "+5m").await;
    leads(&ahead, SOON).await;
    let behind = operator_at(&plane, "behind", "-5m").await;
    let team = Team::new(&plane.api).await;
    let (tenant, first, second) = (team.tenant("acme").await, team.tenant("first").await, team.tenant("second").await);
    let lease = async || {
        let path = "/apis/coordination.k8s.io/v1/namespaces/carillon/leases/carillon-operator";
        plane.api.get(path).await.expect("someone leads")["spec"].take()
    };
    let started = plane.api.get(&tenant.path()).await.expect("it is there");
    let told = started["status"]["conditions"][0]["lastTransitionTime"].as_str().expect("a time").to_owned();
    assert!(told.as_str() > started["metadata"]["creationTimestamp"].as_str().expect("a time"), "the clock is another: {told}");

    // The one whose clock is behind sees Leases that end in the future, and from the past, and takes none that is renewed.
    for _ in 0..3 {
        let renewed = lease().await["renewTime"].clone();
        eventually(SLOW, "the Lease is renewed", async || if lease().await["renewTime"] == renewed { Err(()) } else { Ok(()) }).await;
    }
    let spec = lease().await;
    assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!("ahead"), &json!(0)), "{spec}");

    // Deleted five minutes ago, by this clock; and still it waits for a pod that may run it.
    plane.ways[0].suffers(Fault::Silence);
    plane.api.delete(&first.path()).await;
    limit(&team, &tenant, 60).await;
    team.status(&tenant, "the others have it", |status, _| fleet(status).0 == "2/3").await;
    assert!(plane.api.get(&first.path()).await.is_some(), "the pod that doesn't answer may still run it");
    plane.ways[0].suffers(Fault::None);
    eventually(SLOW, "the object is gone", async || plane.api.get(&first.path()).await.map_or(Ok(()), Err)).await;

    // Deleted in five minutes, by the other's; and still it doesn't wait for ever.
    ahead.terminate().await;
    leads(&behind, SOON).await;
    team.in_force(&tenant).await;
    plane.ways[0].suffers(Fault::Silence);
    let asked = Instant::now();
    plane.api.delete(&second.path()).await;
    eventually(DROP_DEADLINE + SLOW, "the object is gone", async || plane.api.get(&second.path()).await.map_or(Ok(()), Err)).await;
    assert!(asked.elapsed() >= DROP_DEADLINE, "{:?}", asked.elapsed());
    plane.ways[0].suffers(Fault::None);
    limit(&team, &tenant, 61).await;
    team.in_force(&tenant).await;
    let mut members = clients(&plane, &tenant).await;
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
}
