//! The loop's part in the fuses: calls, and telling people.

use std::{collections::BTreeMap, time::Duration};

use carillon_tenant::{FleetName, TenantId};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tokio::time::Instant;

use super::Controller;
use crate::{
    desired::Carried,
    events::News,
    fuse::Blown,
    lease_store::{self, LeaseSeen},
    moves::Share,
    term::Term,
};

/// How often people are told while it is blown: Events are forgotten after an hour.
const TELL_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// A list of deletions takes its time: what is told of it is told again, but not of each.
const SETTLE: Duration = Duration::from_secs(10);

/// What people were told last.
#[derive(Debug)]
struct Told {
    at: Instant,
    code: String,
    /// How many tenants had been released when it blew.
    released: usize,
    /// What had been said by then. Whoever says something else, and it is still blown, has said it wrong.
    said: Option<String>,
}

impl Told {
    /// When people are to be told again.
    fn until(&self, blown: &Blown) -> Instant {
        self.at + if self.code == blown.code { TELL_INTERVAL } else { SETTLE }
    }
}

/// What is known of the Lease, where people are told, and where they say what is to be removed.
#[derive(Debug)]
pub(super) struct Bell {
    namespace: String,
    name: String,
    lease: Option<LeaseSeen>,
    told: Option<Told>,
}

impl Bell {
    pub(super) const fn new(namespace: String, name: String) -> Self {
        Self { namespace, name, lease: None, told: None }
    }

    /// Nothing was told yet in this term.
    pub(super) fn hush(&mut self) {
        self.told = None;
    }

    fn object(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(lease_store::Lease::api_version(&()).into_owned()),
            kind: Some(lease_store::Lease::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: self.lease.as_ref().map(|lease| lease.uid.clone()),
            ..ObjectReference::default()
        }
    }

    fn blown(&self, blown: &Blown) -> News {
        let examples: Vec<_> = blown.examples.iter().map(TenantId::as_str).collect();
        let fleets: Vec<_> = blown.fleets.iter().map(FleetName::as_str).collect();
        let of = if fleets.is_empty() { String::new() } else { format!(" of fleet {}", fleets.join(" and ")) };
        let note = format!(
            "Most tenants{of} are gone within a minute: server pods keep {} of them ({}{}) until they are back. If they are to be removed: \
             kubectl annotate lease {} --namespace {} --overwrite {}={}",
            blown.tenants,
            examples.join(", "),
            if blown.tenants > examples.len() { ", …" } else { "" },
            self.name,
            self.namespace,
            lease_store::REMOVE_TENANTS,
            blown.code,
        );
        News { warning: true, reason: "FuseBlown".to_owned(), note }
    }

    fn mended(removed: usize) -> News {
        let note = match removed {
            0 => "Every tenant that was gone is back.".to_owned(),
            removed => format!("{removed} tenants are removed from server pods, as was said by annotation."),
        };
        News { warning: false, reason: "FuseMended".to_owned(), note }
    }
}

impl Controller {
    /// Takes up what the Lease says.
    pub(super) fn lease_seen(&mut self, lease: LeaseSeen) {
        if self.bell.lease.as_ref() != Some(&lease) {
            self.bell.lease = Some(lease);
            self.gather.change(Instant::now());
        }
    }

    /// A pod would lose `excess`, by what was published last. It may be there again by now.
    pub(super) fn hold(&mut self, fleet: &FleetName, excess: &[TenantId]) {
        let missing = excess.iter().filter(|id| self.index.message(id).is_none() && !self.index.keeps(id));
        self.fuses.hold(fleet, missing.cloned());
        self.gather.change(Instant::now());
    }

    /// Holds what must not be taken from pods yet.
    pub(super) fn judge(&mut self, shares: &mut BTreeMap<FleetName, Share>, carried: &Carried, now: Instant) {
        {
            // Pods that run nothing have nothing to lose.
            let loaded = |fleet: &FleetName| self.pushers.values().any(|pusher| pusher.fleet() == fleet && pusher.ledger.runs_any());
            let outputs = self.parts.outputs.iter().filter(|(fleet, _)| loaded(fleet));
            let published: BTreeMap<_, _> =
                outputs.filter_map(|(fleet, output)| Some((fleet.clone(), output.desired.borrow().clone()?))).collect();
            let said = self.bell.lease.as_ref().and_then(|lease| lease.remove.as_deref());
            self.fuses.judge(shares, |fleet| published.get(fleet).map(|desired| &**desired), carried, said, now);
        }
        self.parts.metrics.fuse_blown(self.fuses.blown().is_some());
    }

    /// When people are to be told again that it is blown.
    pub(super) fn rings(&self) -> Option<Instant> {
        Some(self.bell.told.as_ref()?.until(self.fuses.blown()?))
    }

    /// Tells people what has become of the fuse.
    pub(super) fn ring(&mut self, term: &Term, now: Instant) {
        let released = self.fuses.released_count();
        let judged = self.gather.due().is_none();
        let said = self.bell.lease.as_ref().and_then(|lease| lease.remove.as_deref());
        let news = match (self.fuses.blown(), self.bell.told.take()) {
            (Some(blown), told) if told.as_ref().is_none_or(|told| now >= told.until(blown) || judged && told.said.as_deref() != said) => {
                let released = told.map_or(released, |told| told.released);
                self.bell.told = Some(Told { at: now, code: blown.code.clone(), released, said: said.map(str::to_owned) });
                self.bell.blown(blown)
            }
            (None, Some(told)) => Bell::mended(released.saturating_sub(told.released)),
            (_, told) => {
                self.bell.told = told;
                return;
            }
        };
        if news.warning {
            tracing::error!(reason = news.reason, "{}", news.note);
        } else {
            tracing::warn!(reason = news.reason, "{}", news.note);
        }
        self.parts.events.tell_about(term, self.bell.object(), news);
    }
}
