//! Certificates that change under running servers, by the stages in which the operator renews them.

use std::time::Duration;

use carillon_tenant::push::CertificatesInForce;
use carillon_tests::{certificates::Authority, processes::Processes, tenants::tenant};
use tokio::time::Instant;

/// Servers look at their files every five seconds, and this machine may be busy.
const TAKEN_UP: Duration = Duration::from_secs(40);

/// Pushes one change after the other to every server, each of which must be taken, until their certificates are as `wanted`. Gives how
/// many pushes that were.
async fn push_until(fleet: &mut Processes, what: &str, wanted: impl Fn(&CertificatesInForce) -> bool) -> usize {
    let started = Instant::now();
    for pushes in 1_usize.. {
        fleet.push(&[tenant("acme").with("/quotas/connections/max", pushes)]).await;
        let certificates = fleet.certificates().await;
        if certificates.iter().all(&wanted) {
            return pushes;
        }
        assert!(started.elapsed() < TAKEN_UP, "{what}: {certificates:?}");
    }
    unreachable!("that many numbers there are not")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_replaced_under_constant_pushes_and_none_fails() {
    let mut fleet = Processes::start(2, &[tenant("acme")]).await;
    let (old, new) = (fleet.authority(), Authority::new());
    let before = fleet.certificates().await;
    assert!(before.iter().all(|certificates| certificates.authorities == [old.fingerprint().clone()]), "{before:?}");

    // The operator believes both before a server shows what the new one signed.
    let both = [&new, &*old];
    fleet.certify_operator(&old, &both);
    fleet.certify_servers(&new, &both);
    let fingerprints: Vec<_> = both.map(|authority| authority.fingerprint().clone()).into();
    let pushes = push_until(&mut fleet, "servers show the new certificate", |now| {
        now.authorities == fingerprints && before.iter().all(|before| before.serving != now.serving)
    })
    .await;
    assert!(pushes > 10, "they went on meanwhile: {pushes}");

    // Every server believes the new one: so may the operator's certificate be.
    fleet.certify_operator(&new, &both);
    fleet.certify_servers(&new, &[&new]);
    push_until(&mut fleet, "servers forget the old authority", |now| now.authorities == fingerprints[..1]).await;
    fleet.certify_operator(&new, &[&new]);
    push_until(&mut fleet, "the operator has forgotten it, too", |now| now.authorities == fingerprints[..1]).await;

    for server in 0..2 {
        assert!(fleet.metric(server, r#"carillon_admin_certificate_expiry_timestamp_seconds{certificate="server"}"#).await > 0.0);
        assert!(fleet.metric(server, r#"carillon_admin_certificate_expiry_timestamp_seconds{certificate="authority"}"#).await > 0.0);
    }
}
