//! The loop's part in the fuse: calls, and telling people.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{TenantId, TenantMessage};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tokio::time::Instant;

use super::Controller;
use crate::{
    events::News,
    fuse::Blown,
    lease_store::{self, LeaseSeen},
    term::Term,
};

/// How often people are told while it is blown: Events are forgotten after an hour.
const TELL_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// What is known of the Lease, where people are told, and where they say what is to be removed.
#[derive(Debug)]
pub(super) struct Bell {
    namespace: String,
    name: String,
    lease: Option<LeaseSeen>,
    told: Option<Instant>,
}

impl Bell {
    pub(super) const fn new(namespace: String, name: String) -> Self {
        Self { namespace, name, lease: None, told: None }
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
        let note = format!(
            "{} tenants are gone at once ({}{}): server pods keep all of them until they are back. If they are to be removed: \
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
    pub(super) fn hold(&mut self, excess: &[TenantId]) {
        let missing = excess.iter().filter(|id| self.index.message(id).is_none() && !self.index.keeps(id));
        self.fuse.hold(missing.cloned());
        self.gather.change(Instant::now());
    }

    /// Holds what must not be taken from pods yet.
    pub(super) fn judge(
        &mut self,
        term: &Term,
        tenants: &mut BTreeMap<TenantId, Arc<TenantMessage>>,
        keep: &mut BTreeSet<TenantId>,
        now: Instant,
    ) {
        let before = self.fuse.blown();
        let released = self.fuse.released().len();
        {
            let published = self.parts.desired.borrow();
            // Pods that run nothing have nothing to lose.
            let published = published.as_deref().filter(|_| self.pushers.values().any(|pusher| pusher.ledger.runs_any()));
            let said = self.bell.lease.as_ref().and_then(|lease| lease.remove.as_deref());
            self.fuse.judge(published, tenants, keep, said, now);
        }
        let after = self.fuse.blown();
        self.parts.metrics.fuse_blown(after.is_some());
        let due = self.bell.told.is_none_or(|told| now.duration_since(told) >= TELL_INTERVAL);
        let news = match &after {
            Some(blown) if before != after || due => self.bell.blown(blown),
            None if before.is_some() => {
                let removed = self.fuse.released().len().saturating_sub(released);
                let note = match removed {
                    0 => "Every tenant that was gone is back.".to_owned(),
                    removed => format!("{removed} tenants are removed from server pods, as was said by annotation."),
                };
                News { warning: false, reason: "FuseMended".to_owned(), note }
            }
            _ => return,
        };
        self.bell.told = after.map(|_| now);
        if news.warning {
            tracing::error!(reason = news.reason, "{}", news.note);
        } else {
            tracing::warn!(reason = news.reason, "{}", news.note);
        }
        self.parts.events.tell_about(term, self.bell.object(), news);
    }

    /// Tells again what people may have overlooked.
    pub(super) fn ring(&mut self, now: Instant) {
        if self.bell.told.is_some_and(|told| now.duration_since(told) >= TELL_INTERVAL) {
            self.gather.change(now);
        }
    }
}
