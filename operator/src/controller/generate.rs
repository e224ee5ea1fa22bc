//! The loop's part in generated keys: calls, no decisions. The replica that leads makes them, in its term.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use carillon_tenant::TenantMessage;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Resource, ResourceExt, api::PartialObjectMeta};
use tokio::time::Instant;

use super::{Controller, Done, fleets::fleet_of};
use crate::{
    acks::{Ledger, Standing},
    events::News,
    generate::{GenerateArgs, Made, Order, carry_out, secret_name},
    index::Look,
    object::ObjectKey,
    schedule::Schedule,
    term::Term,
};

/// Secrets looked at and written at once.
const AT_ONCE: usize = 4;
/// One that could not be written is tried again after this, and later each time.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// One that changed while it was looked at is looked at again after this.
const AGAIN: Duration = Duration::from_millis(100);

/// Which Secrets are due.
#[derive(Debug)]
pub(super) struct Generating {
    pub(super) arguments: GenerateArgs,
    due: Schedule<ObjectKey>,
    working: HashSet<ObjectKey>,
    /// Tenants whose next keys are on their way to pods.
    announcing: BTreeSet<ObjectKey>,
    failures: HashMap<ObjectKey, u32>,
}

impl Generating {
    pub(super) fn new(arguments: GenerateArgs) -> Self {
        Self { arguments, due: Schedule::default(), working: HashSet::new(), announcing: BTreeSet::new(), failures: HashMap::new() }
    }

    /// Something about the tenant changed.
    pub(super) fn touch(&mut self, key: &ObjectKey, now: Instant) {
        if self.arguments.enabled {
            self.due.at(now, key.clone());
        }
    }

    /// Pods acknowledged something.
    pub(super) fn fleet_changed(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.announcing) {
            self.due.at(now, key);
        }
    }

    /// When something is due, if it may be done then.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.next().filter(|_| self.working.len() < AT_ONCE)
    }
}

impl Controller {
    /// After the lead was taken: everything is looked at.
    pub(super) fn generate_anew(&mut self) {
        let now = Instant::now();
        self.generating.announcing.clear();
        self.generating.failures.clear();
        for key in self.index.generating() {
            self.generating.touch(&key, now);
        }
    }

    pub(super) fn generate(&mut self, term: &Term, now: Instant) {
        while self.generating.working.len() < AT_ONCE {
            let Some(key) = self.generating.due.pop_due(now) else { return };
            if self.generating.working.contains(&key) {
                self.generating.due.at(now + AGAIN, key);
                continue;
            }
            let wall = Timestamp::now();
            let endpoint = self.generating.arguments.endpoint(&fleet_of(&self.index, &key));
            match self.index.generated_look(&key, endpoint, wall) {
                Look::Nothing => {}
                Look::At(end) => {
                    let wait = u64::try_from(end - wall.as_second()).unwrap_or_default().max(1);
                    self.generating.due.at(now + Duration::from_secs(wait), key);
                }
                Look::Now(order) => self.start(term, *order),
                Look::Pods(message, order) => {
                    if self.verified_everywhere(&key, &message) {
                        self.start(term, *order);
                    } else {
                        self.generating.announcing.insert(key);
                    }
                }
            }
        }
    }

    /// Whether every pod that serves the tenant verifies by the keys of `message`. Without any pod nobody can say that.
    fn verified_everywhere(&self, key: &ObjectKey, message: &TenantMessage) -> bool {
        let (id, version) = (&message.tenant_id, message.config_version.as_str());
        let verifies = |ledger: &Ledger| ledger.standing(id, version) == Standing::Programmed;
        // A fleet that the tenant is leaving serves it until another does.
        let serves = |ledger: &Ledger| matches!(ledger.runs(id), Some(Some(_)));
        let mut pods = self.pods_of(key).peekable();
        let programmed = pods.peek().is_some() && pods.all(|pusher| verifies(&pusher.ledger));
        programmed && self.pushers.values().all(|pusher| verifies(&pusher.ledger) || !serves(&pusher.ledger))
    }

    fn start(&mut self, term: &Term, order: Order) {
        self.generating.working.insert(order.key.clone());
        let (client, term) = (self.client.clone(), term.clone());
        self.jobs.spawn(async move {
            let result = term.during(carry_out(client, &order)).await;
            Done::Generated(Box::new(order), result)
        });
    }

    pub(super) fn generated(&mut self, order: Order, result: Option<kube::Result<Option<Made>>>) {
        let now = Instant::now();
        let Order { key, uid, .. } = order;
        self.generating.working.remove(&key);
        let tell = |warning, reason: &str, note: String| {
            if let Some(term) = &self.term {
                self.parts.events.tell(term, &key, &uid, News { warning, reason: reason.to_owned(), note });
            }
        };
        let secret = secret_name(&key);
        match result {
            None => {}
            Some(Ok(made)) => {
                self.generating.failures.remove(&key);
                // What it came to is seen in the watch, and looked at then.
                let Some(made) = made else { return };
                tracing::info!(tenant = %key, secret, "{made}");
                if let Some(reason) = made.reason() {
                    tell(made == Made::Anew, reason, format!("{made} (Secret {secret})."));
                }
            }
            // Somebody else wrote it, or its namespace is going.
            Some(Err(kube::Error::Api(status))) if status.code == 409 => self.generating.due.at(now + AGAIN, key),
            Some(Err(kube::Error::Api(status))) if status.code == 404 => self.generating.due.at(now + RETRY, key),
            Some(Err(error)) => {
                let failures = self.generating.failures.entry(key.clone()).or_default();
                let wait = RETRY.saturating_mul(1 << (*failures).min(8)).min(RETRY_MAX);
                *failures += 1;
                // What the API server says of a Secret may hold what was written.
                let why = match &error {
                    kube::Error::Api(status) => format!("the API server answers {} {}", status.code, status.reason),
                    _ => "the API server can't be asked".to_owned(),
                };
                tracing::warn!(tenant = %key, secret, why, "Secret with generated keys not written; tried again");
                tell(
                    true,
                    "GenerateFailed",
                    format!("Secret {secret} with generated keys could not be written: {why}. It is tried again."),
                );
                self.generating.due.at(now + wait, key);
            }
        }
    }

    /// Notes whether a Secret holds generated keys, and whose.
    pub(super) fn generated_secret_seen(&mut self, secret: &PartialObjectMeta<Secret>) {
        let owner = secret
            .owner_references()
            .iter()
            .find(|owner| owner.kind == carillon_crds::RealtimeTenant::kind(&()) && owner.api_version.starts_with(carillon_crds::GROUP));
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        self.index.generated_secret_seen(&namespace, &name, owner.map(|owner| (owner.name.as_str(), owner.uid.as_str())));
    }
}
