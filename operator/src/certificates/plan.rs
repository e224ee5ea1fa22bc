//! What is to be done next about the certificates, from what there is: pure, and the clock is passed in.
//!
//! An authority signs both sides' certificates. It is renewed in stages, so that at each moment either side believes what the other shows:
//!
//! 1. A new authority is made; the one before stays, without its key, among those that are believed.
//! 2. The operator believes both, then the servers; theirs are signed by the new one at once, for the operator believes it already.
//! 3. When every server is known to believe the new one, the operator's certificate is signed by it, too.
//! 4. When every server shows its new certificate, the authority before is forgotten by both sides.
//!
//! One step is one write. Each is found anew from what the Secrets hold, so that whoever comes after a crash goes on where it happened.
//! A pod that can't be heard holds up a stage for a bounded time only: it has its new files long before it is back.

use std::time::Duration;

use carillon_tenant::{CertificateFingerprint, Validity, push::CertificatesInForce};

/// Certificates are valid from this long before they are made, for those whose clocks are behind: seconds.
pub(super) const BACKDATE: i64 = 3600;
/// Pods are believed to be all there are when they were the same for this long.
const SETTLE: Duration = Duration::from_secs(10);
/// The longest time that a stage waits for pods that can't be heard.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// How long certificates last: seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives {
    pub(super) authority: u32,
    pub(super) certificate: u32,
}

impl Lives {
    /// How long a stage waits for pods that can't be heard: short against what is left of a certificate when it is renewed.
    pub(super) fn patience(self) -> Duration {
        PATIENCE_MAX.min(Duration::from_secs(u64::from(self.certificate) / 12))
    }
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Side {
    Server,
    Operator,
}

/// A certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) fingerprint: CertificateFingerprint,
    pub(super) validity: Validity,
}

/// A side's certificate that can be used, and whom that side believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) known: Known,
    pub(super) issuer: CertificateFingerprint,
    pub(super) believes: Vec<CertificateFingerprint>,
}

/// What the Secrets hold. What is damaged is as if it were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The authority that signs.
    pub(super) authority: Option<Known>,
    /// Those before it that are still believed.
    pub(super) older: Vec<Known>,
    pub(super) server: Option<Leaf>,
    pub(super) operator: Option<Leaf>,
    /// Someone asks for everything to be renewed, in these words.
    pub(super) asked: Option<String>,
    /// What was asked for when the authority was made.
    pub(super) done: Option<String>,
}

impl Found {
    /// Whom both sides should believe: the one that signs, then those before it.
    pub(super) fn believed(&self, now: i64) -> Vec<CertificateFingerprint> {
        let all = self.authority.iter().chain(&self.older);
        all.filter(|known| now <= known.validity.not_after).map(|known| known.fingerprint.clone()).collect()
    }

    fn leaf(&self, side: Side, now: i64) -> Option<&Leaf> {
        let leaf = match side {
            Side::Server => self.server.as_ref(),
            Side::Operator => self.operator.as_ref(),
        };
        leaf.filter(|leaf| now <= leaf.known.validity.not_after && self.believed(now).contains(&leaf.issuer))
    }
}

/// What the server pods say of their certificates: one entry a pod, `None` while it can't be heard or doesn't say.
pub(super) type Pods = Vec<Option<CertificatesInForce>>;

/// Since when pods could have taken up what the servers' Secret holds, on a clock that nobody sets. Kept as long as one leads.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    authority: Option<(CertificateFingerprint, Duration)>,
    certificate: Option<(CertificateFingerprint, Duration)>,
}

impl Since {
    /// Takes up what was found at `uptime`.
    pub(super) fn observe(&mut self, found: &Found, uptime: Duration) {
        let follow = |since: &mut Option<(CertificateFingerprint, Duration)>, fingerprint: Option<&CertificateFingerprint>| {
            if since.as_ref().map(|(of, _)| of) != fingerprint {
                *since = fingerprint.map(|fingerprint| (fingerprint.clone(), uptime));
            }
        };
        let authority = found.authority.as_ref().map(|known| &known.fingerprint);
        let offers = |authority: &&CertificateFingerprint| found.server.as_ref().is_some_and(|leaf| leaf.believes.contains(authority));
        follow(&mut self.authority, authority.filter(offers));
        follow(&mut self.certificate, found.server.as_ref().map(|leaf| &leaf.known.fingerprint));
    }
}

/// Why something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// There is none that can be used.
    Missing,
    /// Two thirds of its life are over.
    Age,
    /// Someone asked for it.
    Asked,
    /// The one that signed it was renewed.
    Authority,
}

/// The next thing to do. All but the last are one write each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make an authority, and go on to believe `older`.
    MakeAuthority { older: Vec<CertificateFingerprint>, because: Because },
    /// Make that side's certificate, and have it believe whom it should.
    MakeCertificate(Side, Because),
    /// Have that side believe whom it should.
    Believe(Side),
    /// Forget the authorities before.
    Forget,
    /// Nothing now. True while a renewal waits for pods.
    Rest { under_way: bool },
}

/// What is to be done next. `uptime` is the clock that `since` was told.
pub(super) fn next(found: &Found, since: &Since, pods: Option<&Pods>, lives: Lives, now: i64, uptime: Duration) -> Step {
    let lasts = |known: &&Known| now <= known.validity.not_after;
    let older: Vec<_> = found.older.iter().filter(lasts).map(|known| known.fingerprint.clone()).collect();
    let Some(authority) = found.authority.as_ref().filter(lasts) else {
        return Step::MakeAuthority { older, because: Because::Missing };
    };
    let asked = found.asked.is_some() && found.asked != found.done;
    // One renewal at a time: no more than two are believed.
    if older.is_empty() && (asked || is_due(authority.validity, now)) {
        let because = if asked { Because::Asked } else { Because::Age };
        return Step::MakeAuthority { older: vec![authority.fingerprint.clone()], because };
    }
    let believed = found.believed(now);
    // Each side is signed anew once the other believes who signs.
    let operator = found.leaf(Side::Operator, now);
    match operator {
        None => return Step::MakeCertificate(Side::Operator, Because::Missing),
        Some(leaf) if leaf.believes != believed => return Step::Believe(Side::Operator),
        Some(_) => {}
    }
    let server = found.leaf(Side::Server, now);
    match (renewal(server, authority, now), server) {
        (Some(because), _) => return Step::MakeCertificate(Side::Server, because),
        (None, Some(leaf)) if leaf.believes != believed => return Step::Believe(Side::Server),
        (None, _) => {}
    }
    let all = |since: &Option<(CertificateFingerprint, Duration)>, is: &dyn Fn(&CertificatesInForce) -> bool| {
        let elapsed = since.as_ref().map_or(Duration::ZERO, |(_, at)| uptime.saturating_sub(*at));
        let heard = || pods.is_some_and(|pods| pods.iter().all(|pod| pod.as_ref().is_some_and(is)));
        elapsed >= lives.patience() || elapsed >= SETTLE && heard()
    };
    let mut under_way = false;
    if let Some(because) = renewal(operator, authority, now) {
        if all(&since.authority, &|pod| pod.authorities.contains(&authority.fingerprint)) {
            return Step::MakeCertificate(Side::Operator, because);
        }
        under_way = true;
    }
    if !found.older.is_empty() {
        let shown = |pod: &CertificatesInForce| server.is_some_and(|leaf| pod.serving == leaf.known.fingerprint);
        if older.is_empty() || !under_way && all(&since.certificate, &shown) {
            return Step::Forget;
        }
        under_way = true;
    }
    Step::Rest { under_way }
}

/// Why that certificate is to be made anew by `authority`; `None` when it isn't.
fn renewal(leaf: Option<&Leaf>, authority: &Known, now: i64) -> Option<Because> {
    match leaf {
        None => Some(Because::Missing),
        Some(leaf) if leaf.issuer != authority.fingerprint => Some(Because::Authority),
        Some(leaf) if is_due(leaf.known.validity, now) => Some(Because::Age),
        Some(_) => None,
    }
}

/// True when two thirds of a life are over.
fn is_due(validity: Validity, now: i64) -> bool {
    let made = validity.not_before.saturating_add(BACKDATE);
    let life = validity.not_after.saturating_sub(made).max(0);
    now >= made.saturating_add(life / 3 * 2)
}
