//! The certificates by which the operator and the servers' admin port know each other: made, and renewed without anyone noticing.
//!
//! What is to be done next is decided in `plan`, without I/O; `make` makes keys and certificates, `stored` knows their form in Secrets,
//! `secrets` the API server. All is done in terms, like everything that is written. The operator takes its own certificate from here, the
//! servers get theirs from the kubelet and tell, by their state, when they have it in force.

mod args;
mod make;
mod plan;
mod secrets;
mod stored;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{Client, Resource, ResourceExt};
use rustls::pki_types::ServerName;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

pub use self::args::CertificateArgs;
use self::{
    plan::{Lives, Pods, Side, Since, Step},
    secrets::{KubernetesSecrets, Owner, WriteError},
    stored::{Content, Names, Place, Secrets},
};
use crate::{
    events::{Events, News},
    health::Readiness,
    metrics::{CertificateWrite, Metrics},
    status_api::Fleet,
    term::Term,
    tls::Files,
};

/// How often it is looked whether everything is as it should be.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The same while a renewal waits for pods.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);
/// The wait after something failed.
const RETRY: Duration = Duration::from_secs(10);
/// The wait after someone else has written: another leader, or a person.
const RETRY_CONFLICT: Duration = Duration::from_millis(200);

/// What the keeper is given.
pub struct Parts {
    /// The pods, and what they were heard to have in force.
    pub fleet: watch::Receiver<Fleet>,
    /// Says when all pods are known.
    pub readiness: Readiness,
    /// The term in which this replica leads; `None` while it doesn't.
    pub terms: watch::Receiver<Option<Term>>,
    /// Where Events go.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// Keeps certificates in Secrets.
pub struct Keeper {
    secrets: KubernetesSecrets,
    names: Names,
    lives: Lives,
    namespace: String,
    own: watch::Sender<Option<Arc<Files>>>,
}

impl Keeper {
    /// The keeper that `args` ask for; `None` when someone else makes the certificates.
    ///
    /// # Errors
    ///
    /// When an argument can't be used.
    pub fn new(args: &CertificateArgs, client: Client, namespace: &str, server: ServerName<'static>) -> anyhow::Result<Option<Self>> {
        let Some(authority) = &args.authority_secret else { return Ok(None) };
        let lives = args.lives().map_err(|error| anyhow!(error))?;
        let operator = ServerName::try_from(args.operator_identity.clone()).context("--operator-identity")?;
        let names = [
            (Place::Authority, authority),
            (Place::Of(Side::Server), &args.server_tls_secret),
            (Place::Of(Side::Operator), &args.operator_tls_secret),
        ];
        let names = names.into_iter().map(|(place, name)| (place, name.clone())).collect();
        let secrets = KubernetesSecrets::new(client, namespace, names, args.owner_deployment.clone());
        let own = watch::Sender::new(None);
        Ok(Some(Self { secrets, names: Names { server, operator }, lives, namespace: namespace.to_owned(), own }))
    }

    /// The operator's own certificate, whenever it leads.
    pub fn own(&self) -> watch::Receiver<Option<Arc<Files>>> {
        self.own.subscribe()
    }

    /// Keeps them in every term of this process, until `terms` ends.
    pub async fn keep(self, parts: Parts) {
        let mut terms = parts.terms.clone();
        loop {
            let Ok(term) = terms.wait_for(Option::is_some).await.map(|term| term.clone()) else { return };
            let Some(term) = term else { continue };
            let turn = Turn { keeper: &self, parts: &parts, term: &term, since: Since::default(), started: Instant::now(), owner: None };
            let _ = term.during(turn.run()).await;
            // Another leads, and may renew it.
            self.own.send_replace(None);
            for place in Place::ALL {
                parts.metrics.certificate(place.word(), None);
            }
            // The term is over, but it may not have been said yet.
            if terms.changed().await.is_err() {
                return;
            }
        }
    }

    /// What the operator's Secret holds, if it can be used.
    fn take_own(&self, secrets: &Secrets, content: &Content) {
        let usable = content.found.operator.is_some();
        let files = secrets.get(&Place::Of(Side::Operator)).filter(|_| usable).and_then(stored::files);
        let Some([certificate, key, authority]) = files.map(|files| files.map(|file| file.expose().to_vec())) else { return };
        let files = Files { certificate, key, authority };
        self.own.send_if_modified(|own| {
            let changed = own.as_deref() != Some(&files);
            *own = Some(Arc::new(files));
            changed
        });
    }
}

/// What the keeper does in one term.
struct Turn<'a> {
    keeper: &'a Keeper,
    parts: &'a Parts,
    term: &'a Term,
    since: Since,
    started: Instant,
    owner: Option<Owner>,
}

impl Turn<'_> {
    async fn run(mut self) {
        loop {
            let pause = self.turn().await;
            sleep(pause).await;
        }
    }

    /// Does what is to be done next, and gives the time until it is looked again.
    async fn turn(&mut self) -> Duration {
        let Keeper { secrets: api, names, lives, .. } = self.keeper;
        let secrets = match api.read().await {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::warn!(error, "certificates not readable; tried again");
                return RETRY;
            }
        };
        let content = Content::read(&secrets, names);
        self.keeper.take_own(&secrets, &content);
        self.measure(&content);
        let (now, uptime) = (unix_now(), self.started.elapsed());
        self.since.observe(&content.found, uptime);
        let step = plan::next(&content.found, &self.since, self.pods().as_ref(), *lives, now, uptime);
        let written = content.written(&secrets, &step, *lives, names, now);
        let owner = self.owner().await;
        match (written, &step) {
            (Ok(Some((place, mut secret))), _) => {
                owner.take(&mut secret);
                self.write(place, secret, &step).await
            }
            (Ok(None), Step::Rest { under_way }) => {
                let adopted = secrets.into_iter().find_map(|(place, mut secret)| owner.take(&mut secret).then_some((place, secret)));
                match adopted {
                    Some((place, secret)) => self.write(place, secret, &step).await,
                    None if *under_way => RENEWAL_INTERVAL,
                    None => CHECK_INTERVAL,
                }
            }
            (Ok(None), _) => CHECK_INTERVAL,
            (Err(error), _) => self.failed(&step, &error),
        }
    }

    /// Whom the Secrets belong to; nobody as long as that can't be read, and then it is made up for.
    async fn owner(&mut self) -> Owner {
        if self.owner.is_none() {
            match self.keeper.secrets.owner().await {
                Ok(owner) => self.owner = Some(owner),
                Err(error) => tracing::warn!(error, "the Secrets of certificates belong to nobody yet"),
            }
        }
        self.owner.clone().unwrap_or_default()
    }

    async fn write(&self, place: Place, secret: Secret, step: &Step) -> Duration {
        // An API server that is slow may have taken longer than the term lasts.
        if !self.term.lasts() {
            return RETRY;
        }
        let uid = secret.uid();
        match self.keeper.secrets.write(place, secret).await {
            Ok(()) => {
                if let Some(note) = told(step) {
                    tracing::info!(secret = self.keeper.secrets.name(place), "{note}");
                    self.tell(place, uid, News { warning: false, reason: "CertificatesRenewed".to_owned(), note });
                }
                if let Some(place) = made(step) {
                    self.parts.metrics.certificate_renewed(place.word(), CertificateWrite::Ok);
                }
                Duration::ZERO
            }
            Err(WriteError::Conflict) => RETRY_CONFLICT,
            Err(WriteError::Failed(error)) => self.failed(step, &error),
        }
    }

    fn failed(&self, step: &Step, error: &str) -> Duration {
        tracing::error!(error, "certificate not renewed; tried again");
        let place = made(step).unwrap_or(Place::Authority);
        self.parts.metrics.certificate_renewed(place.word(), CertificateWrite::Failed);
        let note = format!("Not renewed, and tried again: {error}");
        self.tell(place, None, News { warning: true, reason: "CertificatesNotRenewed".to_owned(), note });
        RETRY
    }

    fn tell(&self, place: Place, uid: Option<String>, news: News) {
        let object = ObjectReference {
            api_version: Some(Secret::api_version(&()).into_owned()),
            kind: Some(Secret::kind(&()).into_owned()),
            namespace: Some(self.keeper.namespace.clone()),
            name: Some(self.keeper.secrets.name(place).to_owned()),
            uid,
            ..ObjectReference::default()
        };
        self.parts.events.tell_about(self.term, object, news);
    }

    fn measure(&self, content: &Content) {
        let (found, metrics) = (&content.found, &self.parts.metrics);
        let leaf = |leaf: &Option<plan::Leaf>| leaf.as_ref().map(|leaf| leaf.known.validity);
        metrics.certificate("authority", found.authority.as_ref().map(|known| known.validity));
        metrics.certificate("server", leaf(&found.server));
        metrics.certificate("operator", leaf(&found.operator));
    }

    /// What every pod was last heard to have in force; `None` while not all pods are known.
    fn pods(&self) -> Option<Pods> {
        let fleet = self.parts.fleet.borrow().clone().filter(|_| self.parts.readiness.is_ready())?;
        Some(fleet.iter().map(|(_, pod)| pod.ledger.certificates()).collect())
    }
}

/// Whose certificate the step makes.
const fn made(step: &Step) -> Option<Place> {
    match step {
        Step::MakeAuthority { .. } => Some(Place::Authority),
        Step::MakeCertificate(side, _) => Some(Place::Of(*side)),
        Step::Believe(_) | Step::Forget | Step::Rest { .. } => None,
    }
}

/// What people are told of the step once it is done.
fn told(step: &Step) -> Option<String> {
    let because = |because: plan::Because| match because {
        plan::Because::Missing => "there was none that could be used",
        plan::Because::Age => "two thirds of its time were over",
        plan::Because::Asked => "it was asked for by annotation",
        plan::Because::Authority => "its authority was renewed",
    };
    match step {
        Step::MakeAuthority { older, because: why } if older.is_empty() => Some(format!("Authority made: {}.", because(*why))),
        Step::MakeAuthority { because: why, .. } => {
            Some(format!("Authority made: {}. The one before is believed until nobody shows what it signed.", because(*why)))
        }
        Step::MakeCertificate(side, why) => {
            let side = match side {
                Side::Server => "servers",
                Side::Operator => "operator",
            };
            Some(format!("Certificate of the {side} made: {}.", because(*why)))
        }
        Step::Forget => Some("The authority before is not believed any more: the renewal is complete.".to_owned()),
        Step::Believe(_) | Step::Rest { .. } => None,
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
