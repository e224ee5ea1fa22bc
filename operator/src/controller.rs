//! The one loop: takes in what is watched, acknowledged and written, and hands on what follows from it.
//!
//! Every decision is made elsewhere, without I/O: what pods should run in `index`, statuses in `facts`, `status` and `reporting`, the
//! finalizer in `deletion`, what a pod is sent in `acks`, who leads in `election`.
//!
//! A replica that doesn't lead watches and compiles like the one that does, and goes no further: it has no pushers and writes nothing.

mod classes;
mod fuse;
mod jwks;
mod sync;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use carillon_crds::{ConditionType, RealtimeTenantStatus};
use carillon_jwks::Fetcher;
use carillon_tenant::{Position, SecretBytes, push::FleetSettings};
use futures::StreamExt;
use k8s_openapi::{
    api::{core::v1::Secret, discovery::v1::EndpointSlice},
    jiff::Timestamp,
};
use kube::{
    Client, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::fuse::Bell;
use crate::{
    acks::{Standing, Touched},
    classes::ClassReporting,
    deletion::{self, Step},
    desired::Desired,
    events::Events,
    facts::{self, USAGE_GATHER},
    fleet::{PodUid, Slices},
    fuse::Fuse,
    gather::{GATHER_QUIET, Gather},
    health::Readiness,
    index::Index,
    lease_store,
    metrics::{Metrics, Outcome, WriteResult},
    object::{ObjectKey, TenantObject},
    pusher::{Context, Pusher, Report},
    reporting::{Decision, Reporting},
    resolve::{Job, Resolution, resolve},
    schedule::Schedule,
    status::find,
    status_api::Fleet,
    term::Term,
    trails::Trails,
    watches::{self, Listing, Seen, Watch},
    writer::{write_finalizer, write_status},
};

/// Tenants resolved at once.
const RESOLVES_MAX: usize = 16;
/// Statuses and finalizers written at once.
const WRITES_MAX: usize = 8;
/// Statuses looked at before the loop looks at its inputs again.
const STATUSES_PER_TURN: usize = 256;
/// A tenant whose Secrets could not be asked for is resolved again after this.
const RESOLVE_RETRY: Duration = Duration::from_secs(5);
/// A finalizer that could not be written is tried again after this.
const FINALIZER_RETRY: Duration = Duration::from_secs(1);
/// How long writes under way may take after the operator was told to end.
const LAST_WRITES: Duration = Duration::from_secs(5);

const TENANTS: &str = "RealtimeTenants";
const SECRETS: &str = "Secrets";
const SLICES: &str = "EndpointSlices";
const CLASSES: &str = "RealtimeTenantClasses";
const NAMESPACES: &str = "Namespaces";
const COMPILATION: &str = "compilation";

/// What the controller is given.
#[derive(Debug)]
pub struct Parts {
    /// What pods should run, for the pushers.
    pub desired: watch::Sender<Option<Arc<Desired>>>,
    /// Every pod with its ledger, for people who ask.
    pub fleet: watch::Sender<Fleet>,
    /// What pushers are made with.
    pub pushers: Context,
    /// News from the pushers.
    pub reports: mpsc::Receiver<Report>,
    /// The key all servers share.
    pub session_key: watch::Receiver<Option<SecretBytes>>,
    /// The term in which this replica leads; `None` while it doesn't.
    pub term: watch::Receiver<Option<Term>>,
    /// The name of the Lease, in the namespace of the server pods.
    pub lease_name: String,
    /// What is still missing.
    pub readiness: Readiness,
    /// Where Events go.
    pub events: Events,
    /// Who fetches key sets.
    pub fetcher: Arc<Fetcher>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// Runs until `shutdown`.
pub async fn run(client: Client, namespace: &str, service: &str, parts: Parts, shutdown: CancellationToken) {
    let mut tenants = watches::tenants(&client);
    let mut secrets = watches::secrets(&client);
    let mut slices = watches::slices(&client, namespace, service);
    let mut classes = watches::classes(&client);
    let mut namespaces = watches::namespaces(&client);
    let mut lease = lease_store::follow(&client, namespace, &parts.lease_name);
    let bell = Bell::new(namespace.to_owned(), parts.lease_name.clone());
    let mut controller = Controller::new(client, parts, bell);
    loop {
        controller.advance();
        let due = controller.due();
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(event) = tenants.next() => controller.tenant_event(event),
            Some(event) = secrets.next() => controller.secret_event(event),
            Some(event) = slices.next() => controller.slice_event(event),
            Some(event) = classes.next() => controller.class_event(event),
            Some(event) = namespaces.next() => controller.namespace_event(event),
            Some(lease) = lease.next() => controller.lease_seen(lease),
            Some(report) = controller.parts.reports.recv() => controller.report(&report),
            Some(done) = controller.jwks.fetches.join_next() => controller.key_set_done(done.expect("a fetch neither panics nor is cancelled")),
            Some(done) = controller.jobs.join_next() => controller.done(done.expect("a job neither panics nor is cancelled")),
            Ok(()) = controller.parts.term.changed() => controller.term_changed(),
            Ok(()) = controller.parts.session_key.changed() => controller.gather.change(Instant::now()),
            () = tokio::time::sleep_until(due) => {}
        }
    }
    let last = async { while controller.jobs.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WRITES, last).await.is_err() {
        tracing::warn!("ended before everything under way was written");
    }
}

struct Controller {
    client: Client,
    parts: Parts,
    tenants: Listing<ObjectKey>,
    secrets: Listing<(String, String)>,
    endpoints: Listing<String>,
    classes: Listing<String>,
    namespaces: Listing<String>,
    index: Index,
    jwks: jwks::Jwks,
    slices: Slices,
    /// The term in which this replica leads, which may be over by now.
    term: Option<Term>,
    /// One for each pod while it leads, and none while it doesn't.
    pushers: BTreeMap<PodUid, Pusher>,
    /// How many states were published.
    published: u64,
    /// Tenants not tried yet since the start; `None` before they were listed. Nothing is published while there are any.
    untried: Option<HashSet<ObjectKey>>,
    gather: Gather,
    fuse: Fuse,
    bell: Bell,
    unresolved: Schedule<ObjectKey>,
    resolving: HashSet<ObjectKey>,
    trails: Trails,
    reporting: Reporting,
    class_reporting: ClassReporting,
    finalizers: Schedule<ObjectKey>,
    deleting: BTreeSet<ObjectKey>,
    /// Objects that are being written, status or finalizer: one write at a time.
    writing: HashSet<ObjectKey>,
    jobs: JoinSet<Done>,
}

enum Done {
    /// Not written: the term was over before.
    TooLate(ObjectKey),
    ClassTooLate(String),
    Resolved(Box<(Job, kube::Result<Resolution>)>),
    StatusWritten(Box<StatusWrite>, kube::Result<Option<String>>),
    ClassStatusWritten(Box<classes::ClassWrite>, kube::Result<Option<String>>),
    FinalizerWritten(ObjectKey, kube::Result<()>),
}

struct StatusWrite {
    object: TenantObject,
    /// What it replaces: by the time the answer is here, the watch may have brought the new one.
    before: Option<RealtimeTenantStatus>,
    status: RealtimeTenantStatus,
}

impl Controller {
    fn new(client: Client, parts: Parts, bell: Bell) -> Self {
        let readiness = &parts.readiness;
        readiness.missing(COMPILATION, "not every tenant was compiled yet");
        Self {
            tenants: Listing::new(TENANTS, readiness.clone()),
            secrets: Listing::new(SECRETS, readiness.clone()),
            endpoints: Listing::new(SLICES, readiness.clone()),
            classes: Listing::new(CLASSES, readiness.clone()),
            namespaces: Listing::new(NAMESPACES, readiness.clone()),
            client,
            jwks: jwks::Jwks::new(Arc::clone(&parts.fetcher)),
            parts,
            index: Index::default(),
            slices: Slices::default(),
            term: None,
            pushers: BTreeMap::new(),
            published: 0,
            untried: None,
            gather: Gather::default(),
            fuse: Fuse::default(),
            bell,
            unresolved: Schedule::default(),
            resolving: HashSet::new(),
            trails: Trails::default(),
            reporting: Reporting::default(),
            class_reporting: ClassReporting::default(),
            finalizers: Schedule::default(),
            deleting: BTreeSet::new(),
            writing: HashSet::new(),
            jobs: JoinSet::new(),
        }
    }

    fn tenant_event(&mut self, event: EventOf<DynamicObject>) {
        let key = |object: &DynamicObject| ObjectKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
        match self.tenants.follow(event, key) {
            Seen::Applied(object) => {
                let object = TenantObject::from(object);
                if object.deleted.is_some() && self.deleting.insert(object.key.clone()) {
                    self.reporting.deleting(&object.key, &self.parts.metrics);
                }
                self.index.apply(object);
            }
            Seen::Deleted(object) => self.tenant_gone(&key(&object)),
            Seen::Listed(listed) => {
                let gone: Vec<_> = self.index.keys().filter(|key| !listed.contains(key)).cloned().collect();
                for key in gone {
                    self.tenant_gone(&key);
                }
                if self.untried.is_none() {
                    self.untried = Some(self.index.keys().filter(|key| self.index.job(key).is_some()).cloned().collect());
                }
            }
            Seen::Nothing => {}
        }
    }

    fn tenant_gone(&mut self, key: &ObjectKey) {
        self.index.remove(key);
        self.trails.ended(key);
        self.deleting.remove(key);
        self.jwks.settled(key);
        self.reporting.forget(key, &self.parts.metrics);
        self.tried(key);
    }

    fn secret_event(&mut self, event: EventOf<PartialObjectMeta<Secret>>) {
        let key = |secret: &PartialObjectMeta<Secret>| (secret.namespace().unwrap_or_default(), secret.name_any());
        match self.secrets.follow(event, key) {
            Seen::Applied(secret) => {
                let (namespace, name) = key(&secret);
                self.index.secret_seen(&namespace, &name, secret.resource_version().as_deref());
            }
            Seen::Deleted(secret) => {
                let (namespace, name) = key(&secret);
                self.index.secret_seen(&namespace, &name, None);
            }
            Seen::Listed(listed) => self.index.secrets_listed(&listed),
            Seen::Nothing => {}
        }
    }

    fn slice_event(&mut self, event: EventOf<EndpointSlice>) {
        match self.endpoints.follow(event, EndpointSlice::name_any) {
            Seen::Applied(slice) => self.slices.apply(slice),
            Seen::Deleted(slice) => self.slices.remove(&slice.name_any()),
            Seen::Listed(listed) => self.slices.retain(&listed.into_iter().collect()),
            Seen::Nothing => return,
        }
        self.follow_pods();
    }

    /// One pusher for each pod, while this replica leads.
    fn follow_pods(&mut self) {
        let Some(term) = self.term.as_ref().filter(|_| !self.parts.readiness.is_missing(SLICES)) else { return };
        let pods = self.slices.pods();
        let count = self.pushers.len();
        self.pushers.retain(|uid, _| pods.contains_key(uid));
        let mut changed = self.pushers.len() != count;
        for (uid, pod) in pods {
            if let Some(pusher) = self.pushers.get(&uid) {
                pusher.update(pod);
            } else {
                tracing::info!(pod = pod.name, address = %pod.address, "server pod appeared");
                self.pushers.insert(uid.clone(), Pusher::spawn(uid, pod, self.parts.pushers.clone(), term.clone()));
                changed = true;
            }
        }
        if changed {
            self.show_fleet();
            self.fleet_changed(&Touched::All);
        }
    }

    /// Lets people see the pods of this term.
    fn show_fleet(&self) {
        let pods = || self.pushers.iter().map(|(uid, pusher)| (uid.clone(), pusher.handle())).collect();
        self.parts.fleet.send_replace(self.term.as_ref().map(|_| Arc::new(pods())));
    }

    /// Takes the lead, or leaves it to another.
    fn term_changed(&mut self) {
        // Also between two terms of its own: what pods run is asked anew.
        self.pushers.clear();
        self.parts.desired.send_replace(None);
        self.fuse = Fuse::default();
        self.bell.hush();
        self.index.sync_anew();
        self.parts.metrics.fuse_blown(false);
        self.reporting.retire(&self.parts.metrics);
        self.term = self.parts.term.borrow_and_update().clone();
        self.jwks.lead(self.term.is_some());
        self.trails.clear();
        self.show_fleet();
        self.follow_pods();
        self.gather.change(Instant::now());
        self.fleet_changed(&Touched::All);
    }

    /// The term in which this replica leads, while it does and knows all that it must know.
    fn acts(&self) -> Option<Term> {
        self.term.clone().filter(|term| term.lasts() && self.parts.readiness.is_ready())
    }

    fn report(&mut self, report: &Report) {
        match report {
            Report::Standing(pod, touched) if self.pushers.contains_key(pod) => {
                self.follow_trails(touched);
                self.fleet_changed(touched);
            }
            Report::Usage(pod, touched) if self.pushers.contains_key(pod) => {
                let time = Instant::now() + USAGE_GATHER;
                self.index.touched(touched).for_each(|key| self.reporting.again(key, time));
            }
            Report::UnknownKids(tenants) => self.unknown_kids(tenants),
            Report::Excess(pod, excess) if self.pushers.contains_key(pod) => self.hold(excess),
            Report::Standing(..) | Report::Usage(..) | Report::Excess(..) => {}
        }
    }

    /// Looks which changes every pod has acknowledged by now.
    fn follow_trails(&mut self, touched: &Touched) {
        let keys: Vec<_> = match touched {
            Touched::All => self.trails.awaited().cloned().collect(),
            Touched::Only(tenants) => tenants.iter().filter_map(|id| self.index.holder(id)).cloned().collect(),
        };
        for key in keys {
            let Some(version) = self.trails.awaits(&key) else { continue };
            let Some(Ok(id)) = self.index.get(&key).map(|entry| &entry.object.tenant_id) else { continue };
            if self.pushers.values().all(|pusher| pusher.ledger.standing(id, version) == Standing::Programmed) {
                self.trails.acknowledged(&key, self.pushers.len(), &self.parts.metrics, Instant::now());
            }
        }
    }

    fn fleet_changed(&mut self, touched: &Touched) {
        let now = Instant::now();
        self.index.touched(touched).for_each(|key| self.reporting.touch(key, now));
        self.deleting.iter().for_each(|key| self.finalizers.at(now, key.clone()));
        self.parts.metrics.pods(self.pushers.values().map(|pusher| pusher.ledger.pod_state()));
    }

    fn done(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Resolved(done) => {
                let (job, result) = *done;
                self.resolving.remove(&job.key);
                self.tried(&job.key);
                match result {
                    Ok(resolution) => {
                        self.resolved(&job, resolution);
                        self.key_sets_compiled(&job);
                    }
                    Err(error) => {
                        self.parts.metrics.reconciled(Outcome::Error);
                        tracing::warn!(tenant = %job.key, %error, "Secrets not readable; tried again");
                        self.unresolved.at(now + RESOLVE_RETRY, job.key);
                    }
                }
            }
            Done::StatusWritten(write, result) => {
                let StatusWrite { object, before, status } = *write;
                self.writing.remove(&object.key);
                match result {
                    Ok(resource_version) => {
                        self.parts.metrics.status_written(WriteResult::Ok);
                        for news in self.reporting.written(&object.key, before.as_ref(), &status) {
                            let change = change(&object, &status);
                            tracing::info!(change, tenant = %object.key, reason = news.reason, version = status.config_version, "{}", news.note);
                            if let Some(term) = &self.term {
                                self.parts.events.tell(term, &object.key, &object.uid, news);
                            }
                        }
                        if find(&status, ConditionType::Programmed).is_some_and(|programmed| programmed.status == "True") {
                            self.trails.told(&object.key, status.config_version.as_deref().unwrap_or_default(), &self.parts.metrics, now);
                        }
                        self.index.status_written(&object.key, &object.uid, status, resource_version.as_deref());
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(error) => {
                        self.parts.metrics.status_written(WriteResult::Error);
                        tracing::warn!(tenant = %object.key, %error, "status not written; tried again");
                        self.reporting.failed(&object.key, now);
                    }
                }
            }
            Done::ClassStatusWritten(write, result) => self.class_status_written(*write, result),
            Done::ClassTooLate(name) => self.class_reporting.failed(&name, now),
            Done::TooLate(key) => _ = self.writing.remove(&key),
            Done::FinalizerWritten(key, result) => {
                self.writing.remove(&key);
                if let Err(error) = result {
                    tracing::debug!(tenant = %key, %error, "finalizer not written");
                    self.finalizers.at(now + FINALIZER_RETRY, key);
                }
            }
        }
    }

    fn resolved(&mut self, job: &Job, resolution: Resolution) {
        let problems: Vec<_> = resolution.outcome.as_ref().err().into_iter().flatten().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        let Some(outcome) = self.index.resolved(job, resolution) else { return };
        self.parts.metrics.reconciled(outcome);
        let good = self.index.get(&job.key).and_then(|entry| entry.good.as_ref());
        if let Some(good) = good.filter(|_| outcome == Outcome::Changed) {
            self.trails.compiled(&job.key, good, &self.parts.metrics, Instant::now());
            return;
        }
        if outcome == Outcome::Rejected {
            tracing::warn!(tenant = %job.key, generation = job.generation, problems, "tenant does not compile");
        }
        self.trails.ended(&job.key);
    }

    fn tried(&mut self, key: &ObjectKey) {
        if let Some(untried) = &mut self.untried {
            untried.remove(key);
        }
    }

    /// Does whatever is due.
    fn advance(&mut self) {
        let now = Instant::now();
        let changes = self.index.take_changes();
        // What there was at the start is no change, and another replica's changes are followed there.
        let follows = self.term.is_some() && !self.parts.readiness.is_missing(COMPILATION);
        for key in changes.unresolved {
            if follows {
                self.trails.seen(&key, now);
            }
            self.unresolved.at(now, key);
        }
        for key in changes.touched {
            self.reporting.touch(&key, now);
            self.finalizers.at(now, key);
        }
        if changes.desired {
            self.gather.change(now);
        }
        self.follow_key_sets(changes.sources, now);
        self.jwks.start(now);
        self.push_again(&changes.again, now);
        // A Secret that changes while it is read must be heard of; no class and no namespace is gone because it was not listed yet; and what was tried before all tenants were listed would be
        // waited for in vain.
        if self.untried.is_some() && !self.parts.readiness.is_missing(SECRETS) && self.classes_are_known() {
            self.start_resolving(now);
        }
        if self.parts.readiness.is_missing(COMPILATION) && self.untried.as_ref().is_some_and(HashSet::is_empty) {
            self.parts.readiness.there(COMPILATION);
            self.gather.change(now);
        }
        if let Some(term) = self.acts() {
            self.publish(&term, now);
            self.ring(&term, now);
            self.write_finalizers(&term, now);
            self.write_statuses(&term, now);
            self.write_class_statuses(&term, now);
        }
    }

    fn due(&self) -> Instant {
        let resolving = self.unresolved.next().filter(|_| self.resolving.len() < RESOLVES_MAX);
        let acts = self.acts().is_some();
        let may_write = acts && self.writing.len() < WRITES_MAX;
        let writing = self.reporting.next().into_iter().chain(self.finalizers.next()).filter(|_| may_write);
        let writing = writing.chain(self.class_reporting.next().filter(|_| acts));
        let held = self.jwks.holds_until(Instant::now());
        let publishing = self.gather.due().filter(|_| acts).map(|due| held.map_or(due, |held| due.max(held)));
        let ringing = self.rings().filter(|_| acts);
        let next = writing.chain(resolving).chain(publishing).chain(self.jwks.book.next()).chain(ringing).min();
        // Readiness may come from outside the loop.
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
    }

    fn start_resolving(&mut self, now: Instant) {
        while self.resolving.len() < RESOLVES_MAX {
            let Some(key) = self.unresolved.pop_due(now) else { return };
            if self.resolving.contains(&key) {
                // What is under way may have read too early; done with it, this is looked at again.
                self.unresolved.at(now + GATHER_QUIET, key);
                continue;
            }
            let Some(job) = self.index.job(&key) else {
                self.tried(&key);
                self.jwks.settled(&key);
                continue;
            };
            self.resolving.insert(key);
            let client = self.client.clone();
            self.jobs.spawn(async move {
                let result = resolve(client, &job).await;
                Done::Resolved(Box::new((job, result)))
            });
        }
    }

    fn publish(&mut self, term: &Term, now: Instant) {
        if self.gather.due().is_none_or(|due| due > now) {
            return;
        }
        if self.jwks.holds_until(now).is_some() {
            return;
        }
        let Some(session_key) = self.parts.session_key.borrow_and_update().clone() else { return };
        self.gather = Gather::default();
        self.published += 1;
        let position = Position { epoch: term.epoch(), seq: self.published };
        let (mut tenants, mut keep) = self.index.desired();
        self.judge(&mut tenants, &mut keep, now);
        self.trails.published(position, tenants.len(), keep.len(), self.pushers.len());
        let desired = Desired::new(position, FleetSettings { session_key }, tenants, keep).releasing(self.fuse.released().clone());
        self.parts.desired.send_replace(Some(Arc::new(desired)));
    }

    fn write_finalizers(&mut self, term: &Term, now: Instant) {
        while self.writing.len() < WRITES_MAX {
            let Some(key) = self.finalizers.pop_due(now) else { return };
            let Some(entry) = self.index.get(&key) else { continue };
            let Ok(id) = &entry.object.tenant_id else { continue };
            let desired = self.index.message(id).map(|message| &message.config_version);
            let runs = self.pushers.values().map(|pusher| pusher.ledger.runs(id));
            let wanted = match deletion::step(entry, self.index.holds(&key, id), desired, runs, Timestamp::now()) {
                Step::Nothing => continue,
                Step::Wait => {
                    self.finalizers.at(now + deletion::LOOK_INTERVAL, key);
                    continue;
                }
                Step::Add => true,
                Step::Remove => false,
            };
            if !self.writing.insert(key.clone()) {
                self.finalizers.at(now + GATHER_QUIET, key);
                continue;
            }
            let (client, object) = (self.client.clone(), entry.object.clone());
            let term = term.clone();
            self.jobs.spawn(async move {
                match term.during(write_finalizer(client, &object, wanted)).await {
                    Some(result) => Done::FinalizerWritten(key, result),
                    None => Done::TooLate(key),
                }
            });
        }
    }

    fn write_statuses(&mut self, term: &Term, now: Instant) {
        for _ in 0..STATUSES_PER_TURN {
            if self.writing.len() >= WRITES_MAX {
                return;
            }
            let Some(key) = self.reporting.pop_due(now) else { return };
            let Some(facts) = facts::gather(&self.index, self.pushers.values(), &key, now) else { continue };
            if self.writing.contains(&key) {
                self.reporting.again(&key, now + GATHER_QUIET);
                continue;
            }
            let Some(entry) = self.index.get(&key) else { continue };
            let times = (now, Timestamp::now());
            let Decision { status, news } = self.reporting.decide(&key, &facts, entry.status.as_ref(), &self.parts.metrics, times);
            for news in news {
                self.parts.events.tell(term, &key, &entry.object.uid, news);
            }
            let Some(status) = status else { continue };
            let write = StatusWrite { object: entry.object.clone(), before: entry.status.clone(), status };
            let (client, term) = (self.client.clone(), term.clone());
            self.writing.insert(key);
            self.jobs.spawn(async move {
                match term.during(write_status(client, &write.object, &write.status)).await {
                    Some(result) => Done::StatusWritten(Box::new(write), result),
                    None => Done::TooLate(write.object.key),
                }
            });
        }
    }
}

type EventOf<K> = <Watch<K> as futures::Stream>::Item;

/// What the change is called that led to this status.
fn change(object: &TenantObject, status: &RealtimeTenantStatus) -> Option<String> {
    Some(format!("{}@{}", object.tenant_id.as_ref().ok()?, status.config_version.as_ref()?))
}

/// True when the object a write was for is not there any more, or is another by now.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
