//! Who has what: per pod, the versions it acknowledged, and from that what it should be sent next.

mod account;
mod again;
mod removals;
mod runs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use carillon_tenant::{
    ConfigVersion, Epoch, Position, TenantId, TenantMessage,
    push::{Answer, CertificatesInForce, Delta, Elsewhere, PROTOCOL_VERSION, Rejected, State, digest},
};
use tokio::time::Instant;

pub use self::account::Wanted;
use self::runs::Runs;
use crate::{
    desired::Desired,
    metrics::PodState,
    roster::{Roster, Rosters},
};

/// So long a pod that was never heard is thought to be starting: Kubernetes shows it before its server listens.
pub const STARTING: Duration = Duration::from_secs(10);

/// What one pod is known to run. Written by the pod's pusher, read by the controller. The lock guards plain data and is held for
/// a look-up, or for one walk over the tenants; never across an await.
#[derive(Debug, Default)]
pub struct Ledger {
    record: Mutex<Record>,
    rosters: Arc<Rosters>,
}

#[derive(Debug, Default)]
struct Record {
    /// `None` until the pod was asked.
    known: Option<Known>,
    trouble: Option<Trouble>,
    /// Since when there is trouble.
    troubled: Option<Instant>,
    /// When the pod last answered as it should.
    heard: Option<Instant>,
    /// Tenants to be pushed whatever is known.
    again: BTreeSet<TenantId>,
}

#[derive(Debug)]
struct Known {
    boot_id: String,
    programmed: bool,
    position: Position,
    fleet_digest: Option<String>,
    applied: Runs,
    rejected: BTreeMap<TenantId, Rejected>,
    certificates: Option<CertificatesInForce>,
    /// The digest of `applied`, where it is known.
    digest: Option<String>,
    /// The serial number of the state that the pod runs exactly, with no tenant more, less or otherwise: what differs from the state
    /// after it is known without a look at all tenants.
    exact: Option<u64>,
}

impl Known {
    /// A process that was just heard of.
    fn new(boot_id: String, roster: Arc<Roster>, now: Instant) -> Self {
        Self {
            boot_id,
            programmed: false,
            position: Position::default(),
            fleet_digest: None,
            applied: Runs::new(roster, now),
            rejected: BTreeMap::new(),
            certificates: None,
            digest: None,
            exact: None,
        }
    }

    fn version(&self, tenant: &TenantId) -> Option<&ConfigVersion> {
        self.applied.get(tenant).map(|running| running.version)
    }

    fn digest(&self) -> String {
        self.digest.clone().unwrap_or_else(|| digest(self.applied.iter()))
    }

    /// Tenants that the pod may run otherwise than `desired` says, and those that it may run although they are gone; `None`: any.
    fn behind<'a>(&self, desired: &'a Desired) -> Option<(&'a [TenantId], &'a [TenantId])> {
        self.exact.and_then(|serial| desired.since(serial))
    }

    /// Notes that the pod runs exactly `desired`, if it does, once it is known to run whatever it should and did not refuse.
    fn arrive(&mut self, desired: &Desired) {
        let exactly = self.rejected.is_empty() && self.applied.len() == desired.tenants.len();
        if exactly {
            self.applied.settle(desired.roster());
        }
        self.exact = exactly.then(|| desired.serial());
    }
}

/// What stands between the operator and a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("can't be reached")]
    Unreachable,
    /// The TLS handshake failed: a certificate is wrong on one of the sides.
    #[error("TLS handshake failed")]
    Tls,
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The server and the operator speak no version of the push protocol in common.
    #[error("speaks no version of the push protocol that the operator speaks")]
    ProtocolVersion,
    /// The server can't take the push at all.
    #[error("refused the whole push")]
    Refused,
    /// The answer can't be understood, or doesn't fit the push.
    #[error("answered what can't be understood")]
    Malformed,
    /// The server runs something else than was thought.
    #[error("runs something else than was thought")]
    Conflict,
    /// The server was pushed by a later leader, in that epoch.
    #[error("was pushed by a later leader")]
    StaleEpoch(Epoch),
}

/// How one pod stands to one version of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It acknowledged exactly this version.
    Programmed,
    /// It refused this version.
    Rejected(Rejected),
    /// It was not asked yet.
    Asking,
    /// It was never heard, and may just be [starting](STARTING).
    Starting,
    /// It will be, or is being, sent this version.
    Pending,
    /// Something stands in the way.
    Trouble(Trouble),
}

/// The tenants whose standing an exchange has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Any of them.
    All,
    /// These.
    Only(Vec<TenantId>),
}

impl Touched {
    /// True when nothing changed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(tenants) if tenants.is_empty())
    }
}

/// What to send to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Everything.
    Snapshot,
    /// What differs.
    Delta(Delta),
}

impl Plan {
    /// The same in that version of the protocol. A version whose messages differ is made here, and in [`Desired::snapshot`].
    pub fn spoken_in(self, protocol_version: u32) -> Self {
        match self {
            Self::Snapshot => Self::Snapshot,
            Self::Delta(delta) => Self::Delta(Delta { protocol_version, ..delta }),
        }
    }
}

impl Ledger {
    /// A ledger that keeps what it has in common with others in `rosters`.
    pub fn sharing(rosters: Arc<Rosters>) -> Self {
        Self { rosters, record: Mutex::default() }
    }

    /// Takes up what the pod says it runs. A pod that restarted is forgotten first.
    pub fn learn(&self, state: State) -> Touched {
        let mut record = self.lock();
        let now = Instant::now();
        let healed = record.trouble.take().is_some();
        record.heard = Some(now);
        record.troubled = None;
        let State { boot_id, programmed, position, fleet_digest, applied, certificates, .. } = state;
        let (known, touched) = match record.known.take_if(|known| known.boot_id == boot_id) {
            Some(same) if same.applied.is(&applied) => (same, Touched::Only(Vec::new())),
            Some(drifted) => {
                let (applied, touched) = drifted.applied.followed_by(self.rosters.of(applied), now);
                (Known { applied, digest: None, exact: None, ..drifted }, Touched::Only(touched))
            }
            None => (Known::new(boot_id, self.rosters.of(applied), now), Touched::All),
        };
        record.known = Some(Known { programmed, position, fleet_digest, certificates, ..known });
        if healed { Touched::All } else { touched }
    }

    /// The pod answered something.
    pub fn hear(&self) {
        self.lock().heard = Some(Instant::now());
    }

    /// True when `state` is what was thought: nothing drifted, nothing restarted.
    pub fn agrees_with(&self, state: &State) -> bool {
        self.lock().known.as_ref().is_some_and(|known| {
            known.boot_id == state.boot_id
                && known.programmed == state.programmed
                && known.fleet_digest == state.fleet_digest
                && known.digest() == state.digest
        })
    }

    /// True when the process that was asked for its state is this one.
    pub fn is_boot(&self, boot_id: &str) -> bool {
        self.lock().known.as_ref().is_some_and(|known| known.boot_id == boot_id)
    }

    /// What the pod should be sent so that it runs `desired`; `None` when it does. What it refused is not sent again. One that was pushed
    /// nothing in this epoch is sent what differs even if that is nothing: it must take no more from the leader before.
    pub fn plan(&self, desired: &Desired) -> Option<Plan> {
        let mut record = self.lock();
        let Record { known, again, .. } = &mut *record;
        let known = known.as_mut()?;
        if !known.programmed || known.fleet_digest.as_ref() != Some(&desired.fleet_digest) {
            return Some(Plan::Snapshot);
        }
        let wanted = |(tenant, message): &(&TenantId, &Arc<TenantMessage>)| {
            let version = &message.config_version;
            let refused = || known.rejected.get(*tenant).is_some_and(|rejected| rejected.config_version == *version);
            again.contains(*tenant) || known.version(tenant) != Some(version) && !refused()
        };
        let unwanted = |tenant: &&TenantId| !desired.tenants.contains_key(*tenant) && !desired.keep.contains(*tenant);
        let message = |(_, message): (&TenantId, &Arc<TenantMessage>)| TenantMessage::clone(message);
        let (upserts, removals): (Vec<_>, Vec<_>) = match known.behind(desired) {
            Some((differs, gone)) => {
                let looked_at: BTreeSet<_> = differs.iter().chain(again.iter()).collect();
                let found = looked_at.into_iter().filter_map(|tenant| desired.tenants.get_key_value(tenant));
                (found.filter(wanted).map(message).collect(), gone.iter().filter(unwanted).cloned().collect())
            }
            None => (
                desired.tenants.iter().filter(wanted).map(message).collect(),
                known.applied.iter().map(|(tenant, _)| tenant).filter(unwanted).cloned().collect(),
            ),
        };
        if upserts.is_empty() && removals.is_empty() && known.position.epoch >= desired.position.epoch {
            known.arrive(desired);
            return None;
        }
        Some(Plan::Delta(Delta {
            protocol_version: PROTOCOL_VERSION,
            position: desired.position,
            base_digest: known.digest(),
            moved: removals.iter().filter(|tenant| desired.carried.contains_key(*tenant)).cloned().collect(),
            upserts,
            removals,
            // One that started with what was written, or that missed a move, hears of all of them; from then on, of what it loses.
            elsewhere: if known.position.epoch < desired.position.epoch { desired.elsewhere() } else { Elsewhere::new() },
        }))
    }

    /// Takes up the answer to `plan`, made from `desired`.
    ///
    /// # Errors
    ///
    /// [`Trouble`] when the answer doesn't fit: the pod must be asked for its state.
    pub fn acknowledge(&self, desired: &Desired, plan: &Plan, answer: Answer) -> Result<Touched, Trouble> {
        let mut record = self.lock();
        let now = Instant::now();
        let Record { known, trouble, troubled, heard, again } = &mut *record;
        let healed = trouble.is_some();
        let known = known.as_mut().filter(|known| known.boot_id == answer.boot_id).ok_or(Trouble::Conflict)?;
        // The pod's own state changes, also when there is no tenant to tell of.
        let first = !known.programmed;
        known.position = desired.position;
        (known.digest, known.exact) = (None, None);
        let mut touched = Vec::new();
        let mut asked: BTreeMap<&TenantId, &ConfigVersion> = BTreeMap::new();
        match plan {
            Plan::Snapshot => {
                asked.extend(desired.tenants.iter().map(|(tenant, message)| (tenant, &message.config_version)));
                known.programmed = true;
                known.fleet_digest = Some(desired.fleet_digest.clone());
                let stays = |tenant: &TenantId| desired.tenants.contains_key(tenant) || desired.keep.contains(tenant);
                touched.extend(known.applied.iter().map(|(tenant, _)| tenant).filter(|tenant| !stays(tenant)).cloned());
                touched.iter().for_each(|tenant| known.applied.remove(tenant));
                known.rejected.clear();
                again.clear();
            }
            Plan::Delta(delta) => {
                asked.extend(delta.upserts.iter().map(|message| (&message.tenant_id, &message.config_version)));
                for tenant in &delta.removals {
                    known.applied.remove(tenant);
                    known.rejected.remove(tenant);
                    again.remove(tenant);
                    touched.push(tenant.clone());
                }
            }
        }
        for applied in answer.applied {
            if let Some((&tenant, &version)) = asked.get_key_value(&applied.tenant_id)
                && *version == applied.config_version
            {
                asked.remove(tenant);
                known.rejected.remove(tenant);
                again.remove(tenant);
                touched.push(tenant.clone());
                // Our own text, which all pods share.
                known.applied.insert(tenant.clone(), version.clone(), now);
            }
        }
        for rejected in answer.rejected {
            if asked.get(&rejected.tenant_id).is_some_and(|version| **version == rejected.config_version) {
                asked.remove(&rejected.tenant_id);
                touched.push(rejected.tenant_id.clone());
                again.remove(&rejected.tenant_id);
                known.rejected.insert(rejected.tenant_id.clone(), rejected);
            }
        }
        if !asked.is_empty() {
            return Err(Trouble::Malformed);
        }
        known.arrive(desired);
        // The same for all pods that run the same: it is computed once.
        let fits = if known.exact.is_some() { desired.roster().digest() == answer.digest } else { known.digest() == answer.digest };
        if !fits {
            known.exact = None;
            return Err(Trouble::Malformed);
        }
        known.digest = Some(answer.digest);
        *trouble = None;
        *troubled = None;
        *heard = Some(now);
        Ok(if healed || first { Touched::All } else { Touched::Only(touched) })
    }

    /// Notes what stands in the way of the pod. What it acknowledged before still counts: it runs it, as far as anyone knows.
    pub fn note(&self, trouble: Trouble) -> Touched {
        let mut record = self.lock();
        record.troubled.get_or_insert_with(Instant::now);
        let before = record.trouble.replace(trouble);
        if before == Some(trouble) { Touched::Only(Vec::new()) } else { Touched::All }
    }

    /// How the pod stands to `version` of `tenant`.
    pub fn standing(&self, tenant: &TenantId, version: &str) -> Standing {
        let record = self.lock();
        let known = record.known.as_ref();
        if known.and_then(|known| known.version(tenant)).is_some_and(|applied| applied.as_str() == version) {
            return Standing::Programmed;
        }
        let rejected = known.and_then(|known| known.rejected.get(tenant)).filter(|rejected| rejected.config_version.as_str() == version);
        match (rejected, record.trouble, known) {
            (Some(rejected), _, _) => Standing::Rejected(rejected.clone()),
            (None, Some(Trouble::Unreachable), None) if record.troubled.is_some_and(|since| since.elapsed() < STARTING) => {
                Standing::Starting
            }
            (None, Some(trouble), _) => Standing::Trouble(trouble),
            (None, None, None) => Standing::Asking,
            (None, None, Some(_)) => Standing::Pending,
        }
    }

    /// The version of `tenant` that the pod runs: the outer `None` while that is not known.
    pub fn runs(&self, tenant: &TenantId) -> Option<Option<ConfigVersion>> {
        self.lock().known.as_ref().map(|known| known.version(tenant).cloned())
    }

    /// The certificates that the pod was last heard to have in force; `None` when it doesn't say.
    pub fn certificates(&self) -> Option<CertificatesInForce> {
        self.lock().known.as_ref()?.certificates.clone()
    }

    /// True when the pod is known to run some tenant.
    pub fn runs_any(&self) -> bool {
        self.lock().known.as_ref().is_some_and(|known| known.applied.len() > 0)
    }

    /// The pod's state as metrics tell it.
    pub fn pod_state(&self) -> PodState {
        let record = self.lock();
        match (&record.known, record.trouble) {
            (_, Some(Trouble::ProtocolVersion)) => PodState::Incompatible,
            (_, Some(_)) => PodState::Troubled,
            (Some(known), None) if known.programmed => PodState::Programmed,
            _ => PodState::Unprogrammed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod steps;
#[cfg(test)]
mod tests;
