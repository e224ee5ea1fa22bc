//! The one loop: takes in what is watched, acknowledged and written, and hands on what follows from it.
//!
//! Every decision is made elsewhere, without I/O: what pods should run in `index`, statuses in `facts`, `status` and `reporting`, the
//! finalizer in `deletion`, what a pod is sent in `acks`, who leads in `election`.
//!
//! A replica that doesn't lead watches and compiles like the one that does, and goes no further: it has no pushers and writes nothing.

mod classes;
mod fleets;
mod fuse;
mod generate;
mod inputs;
mod jwks;
mod pods;
mod resolving;
mod sync;
mod writes;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use carillon_jwks::Fetcher;
use carillon_tenant::{FleetName, Position, SecretBytes, push::FleetSettings};
use futures::StreamExt;
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{fuse::Bell, generate::Generating, writes::StatusWrite};
use crate::{
    acks::Touched,
    classes::ClassReporting,
    desired::{Carried, Desired},
    events::Events,
    fleet::{PodUid, Slices},
    fleets::Fleets,
    fuse::Fuses,
    gather::Gather,
    generate::{GenerateArgs, Made, Order},
    health::Readiness,
    index::Index,
    lease_store,
    metrics::{Metrics, Outcome},
    moves::Moves,
    object::ObjectKey,
    pusher::{Context, Pusher, Report},
    reporting::Reporting,
    resolve::{Job, Resolution},
    schedule::Schedule,
    status_api::Fleet,
    term::Term,
    trails::Trails,
    watches::{self, Listing, Watch},
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
    /// Where what a fleet's pods should run goes, by fleet.
    pub outputs: BTreeMap<FleetName, Output>,
    /// Which fleets there are.
    pub fleets: Arc<Fleets>,
    /// Every pod with its ledger, for people who ask.
    pub fleet: watch::Sender<Fleet>,
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
    /// Which keys are made for tenants.
    pub generate: GenerateArgs,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// The way to one fleet.
#[derive(Debug)]
pub struct Output {
    /// What its pods should run, for the pushers.
    pub desired: watch::Sender<Option<Arc<Desired>>>,
    /// What its pushers are made with.
    pub pushers: Context,
}

/// Runs until `shutdown`.
pub async fn run(client: Client, namespace: &str, parts: Parts, shutdown: CancellationToken) {
    let mut tenants = watches::tenants(&client);
    let mut secrets = watches::secrets(&client);
    let mut slices = watches::slices(&client, namespace, &parts.fleets);
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
    generating: Generating,
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
    fuses: Fuses,
    moves: Moves,
    bell: Bell,
    unresolved: Schedule<ObjectKey>,
    resolving: HashSet<ObjectKey>,
    trails: Trails,
    reporting: Reporting,
    class_reporting: ClassReporting,
    finalizers: Schedule<ObjectKey>,
    /// Objects that are being deleted, and since when that is known here.
    deleting: BTreeMap<ObjectKey, Instant>,
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
    /// `None`: the term was over before.
    Generated(Box<Order>, Option<kube::Result<Option<Made>>>),
}

impl Controller {
    fn new(client: Client, parts: Parts, bell: Bell) -> Self {
        let readiness = &parts.readiness;
        readiness.missing(COMPILATION, "not every tenant was compiled yet");
        let slices = Slices::new(Arc::clone(&parts.fleets));
        let mut index = Index::default();
        index.serve(parts.fleets.names());
        Self {
            tenants: Listing::new(TENANTS, readiness.clone()),
            secrets: Listing::new(SECRETS, readiness.clone()),
            endpoints: Listing::new(SLICES, readiness.clone()),
            classes: Listing::new(CLASSES, readiness.clone()),
            namespaces: Listing::new(NAMESPACES, readiness.clone()),
            client,
            jwks: jwks::Jwks::new(Arc::clone(&parts.fetcher)),
            generating: Generating::new(parts.generate.clone()),
            parts,
            index,
            slices,
            term: None,
            pushers: BTreeMap::new(),
            published: 0,
            untried: None,
            gather: Gather::default(),
            fuses: Fuses::default(),
            moves: Moves::default(),
            bell,
            unresolved: Schedule::default(),
            resolving: HashSet::new(),
            trails: Trails::default(),
            reporting: Reporting::default(),
            class_reporting: ClassReporting::default(),
            finalizers: Schedule::default(),
            deleting: BTreeMap::new(),
            writing: HashSet::new(),
            jobs: JoinSet::new(),
        }
    }

    /// Takes the lead, or leaves it to another.
    fn term_changed(&mut self) {
        // Also between two terms of its own: what pods run is asked anew.
        self.pushers.clear();
        self.parts.outputs.values().for_each(|output| _ = output.desired.send_replace(None));
        self.fuses = Fuses::default();
        self.moves.clear();
        self.bell.hush();
        self.index.sync_anew();
        self.parts.metrics.fuse_blown(false);
        self.reporting.retire(&self.parts.metrics);
        self.term = self.parts.term.borrow_and_update().clone();
        self.jwks.lead(self.term.is_some());
        self.trails.clear();
        self.show_fleet();
        self.follow_pods();
        self.generate_anew();
        self.gather.change(Instant::now());
        self.fleet_changed(&Touched::All);
    }

    /// The term in which this replica leads, while it does and knows all that it must know.
    fn acts(&self) -> Option<Term> {
        self.term.clone().filter(|term| term.lasts() && self.parts.readiness.is_ready())
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
            Done::StatusWritten(write, result) => self.status_written(*write, result),
            Done::ClassStatusWritten(write, result) => self.class_status_written(*write, result),
            Done::ClassTooLate(name) => self.class_reporting.failed(&name, now),
            Done::TooLate(key) => _ = self.writing.remove(&key),
            Done::Generated(order, result) => self.generated(*order, result),
            Done::FinalizerWritten(key, result) => {
                self.writing.remove(&key);
                if let Err(error) = result {
                    tracing::debug!(tenant = %key, %error, "finalizer not written");
                    self.finalizers.at(now + FINALIZER_RETRY, key);
                }
            }
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
            self.generating.touch(&key, now);
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
            self.generate(&term, now);
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
        let writing = writing.chain(self.generating.next().filter(|_| acts));
        let held = self.jwks.holds_until(Instant::now());
        let publishing = self.gather.due().filter(|_| acts).map(|due| held.map_or(due, |held| due.max(held)));
        let ringing = self.rings().filter(|_| acts);
        let moving = self.moves.next().filter(|_| acts);
        let publishing = publishing.into_iter().chain(moving);
        let next = writing.chain(resolving).chain(publishing).chain(self.jwks.book.next()).chain(ringing).min();
        // Readiness may come from outside the loop.
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
    }

    fn publish(&mut self, term: &Term, now: Instant) {
        if self.moves.next().is_some_and(|end| end <= now) {
            self.gather.change(now);
        }
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
        let mut shares = self.share(now);
        let carried = Arc::new(if self.parts.fleets.is_one() { Carried::new() } else { self.index.carried() });
        self.judge(&mut shares, &carried, now);
        self.tell_published(position, &shares);
        for (fleet, share) in shares {
            let Some(output) = self.parts.outputs.get(&fleet) else { continue };
            let settings = FleetSettings { session_key: session_key.clone() };
            let desired = Desired::new(position, settings, share.tenants, share.keep).releasing(self.fuses.released(&fleet));
            let desired = desired.beside_others(share.guests, Arc::clone(&carried)).following(output.desired.borrow().as_deref());
            output.desired.send_replace(Some(Arc::new(desired)));
        }
    }
}

type EventOf<K> = <Watch<K> as futures::Stream>::Item;
