//! What every server pod of one fleet should run, and its form on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use carillon_tenant::{
    Position, TenantId, TenantMessage,
    push::{Elsewhere, FleetSettings, PUSH_BYTES_MAX, Snapshot, gzip},
};
use hyper::body::Bytes;
use serde::Serialize;

use crate::roster::Roster;

/// Bodies above this size travel compressed, in bytes.
const GZIP_BYTES_MIN: usize = 1024;

/// Tenants that some fleet carries.
pub type Carried = BTreeMap<TenantId, Arc<TenantMessage>>;

/// What every server pod of one fleet should run: one immutable state, swapped whole.
#[derive(Debug)]
pub struct Desired {
    /// Which of all states this is.
    pub position: Position,
    /// What all servers share.
    pub fleet: FleetSettings,
    /// The digest of `fleet`.
    pub fleet_digest: String,
    /// Every tenant that has a good configuration.
    pub tenants: BTreeMap<TenantId, Arc<TenantMessage>>,
    /// Tenants without one: a pod keeps what it runs of them.
    pub keep: BTreeSet<TenantId>,
    /// Tenants that someone said are to go: a pod may drop them, however many they are.
    pub released: BTreeSet<TenantId>,
    /// Those of `tenants` and `keep` that another fleet carries: they stay here until they are there.
    pub guests: BTreeSet<TenantId>,
    /// Tenants that some fleet carries: none of them is lost to its clients when this one drops it. Empty when there is one fleet.
    pub carried: Arc<Carried>,
    /// Tells it from every other that this process made.
    serial: u64,
    step: Option<Step>,
    roster: OnceLock<Arc<Roster>>,
    /// By version of the protocol.
    snapshots: Mutex<BTreeMap<u32, Arc<Encoded>>>,
}

/// What differs from the state before. Found once, for all pods.
#[derive(Debug)]
struct Step {
    /// The serial number of the state before.
    from: u64,
    differs: Vec<TenantId>,
    gone: Vec<TenantId>,
}

impl Desired {
    /// Puts together what pods should run.
    pub fn new(
        position: Position,
        fleet: FleetSettings,
        tenants: BTreeMap<TenantId, Arc<TenantMessage>>,
        keep: BTreeSet<TenantId>,
    ) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Self {
            position,
            fleet_digest: fleet.digest(),
            fleet,
            tenants,
            keep,
            released: BTreeSet::new(),
            guests: BTreeSet::new(),
            carried: Arc::default(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            step: None,
            roster: OnceLock::new(),
            snapshots: Mutex::default(),
        }
    }

    /// The same, knowing what differs from `before`: a pod that runs exactly that is brought here without a look at all other tenants.
    pub fn following(self, before: Option<&Self>) -> Self {
        let step = before.map(|before| {
            let same = |tenant: &TenantId, message: &Arc<TenantMessage>| {
                let before = before.tenants.get(tenant);
                before.is_some_and(|before| Arc::ptr_eq(before, message) || before.config_version == message.config_version)
            };
            let differs =
                self.tenants.iter().filter(|(tenant, message)| !same(tenant, message)).map(|(tenant, _)| tenant.clone()).collect();
            let gone = before.tenants.keys().filter(|tenant| !self.tenants.contains_key(*tenant)).cloned().collect();
            Step { from: before.serial, differs, gone }
        });
        Self { step, ..self }
    }

    /// Tells it from every other that this process made.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// What differs, and what is gone, since the state of that serial number; `None` when that is not known.
    pub fn since(&self, serial: u64) -> Option<(&[TenantId], &[TenantId])> {
        if serial == self.serial {
            return Some((&[], &[]));
        }
        self.step.as_ref().filter(|step| step.from == serial).map(|step| (&step.differs[..], &step.gone[..]))
    }

    /// What a pod runs that runs all tenants and nothing else.
    pub fn roster(&self) -> &Arc<Roster> {
        let entry = |(tenant, message): (&TenantId, &Arc<TenantMessage>)| (tenant.clone(), message.config_version.clone());
        self.roster.get_or_init(|| Arc::new(self.tenants.iter().map(entry).collect()))
    }

    /// The same, with what someone said is to go.
    pub fn releasing(self, released: BTreeSet<TenantId>) -> Self {
        Self { released, ..self }
    }

    /// The same, as one of several fleets.
    pub fn beside_others(self, guests: BTreeSet<TenantId>, carried: Arc<Carried>) -> Self {
        Self { guests, carried, ..self }
    }

    /// Tenants that other fleets carry, those on their way here or from here included, while pods are not asked to serve them here.
    pub fn elsewhere(&self) -> Elsewhere {
        let mut elsewhere = Elsewhere::new();
        for (id, message) in self.carried.iter().filter(|(id, _)| !self.tenants.contains_key(*id)) {
            let claim = &message.jwt.tenant_claim;
            match elsewhere.get_mut(claim) {
                Some(ids) => ids.push(id.clone()),
                None => _ = elsewhere.insert(claim.clone(), vec![id.clone()]),
            }
        }
        elsewhere
    }

    /// Tenants that this fleet carries: how many there are, guests not counted.
    pub fn own(&self) -> usize {
        self.tenants.len() + self.keep.len() - self.guests.len()
    }

    /// The snapshot of all of it in a version of the protocol, encoded once for all pods that speak it. Costs milliseconds per thousand tenants the first time.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when no server would take it.
    pub fn snapshot(&self, protocol_version: u32) -> Result<Body, TooLarge> {
        let encode = || {
            Body::encode(&Snapshot {
                protocol_version,
                position: self.position,
                fleet: self.fleet.clone(),
                tenants: self.tenants.values().map(|message| TenantMessage::clone(message)).collect(),
                keep: self.keep.iter().cloned().collect(),
                elsewhere: self.elsewhere(),
            })
        };
        let cell = Arc::clone(self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).entry(protocol_version).or_default());
        cell.get_or_init(encode).clone()
    }
}

/// A body, once it was made.
type Encoded = OnceLock<Result<Body, TooLarge>>;

/// The body of a push.
#[derive(Clone)]
pub struct Body {
    /// What travels.
    pub bytes: Bytes,
    /// Whether it is compressed.
    pub gzip: bool,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "[{} bytes, gzip: {}]", self.bytes.len(), self.gzip)
    }
}

/// A push that is larger than any server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a push of {0} bytes is larger than the {PUSH_BYTES_MAX} that servers take")]
pub struct TooLarge(usize);

impl Body {
    /// Encodes `message`, compressed when that pays.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] when no server would take it.
    pub fn encode(message: &impl Serialize) -> Result<Self, TooLarge> {
        let json = serde_json::to_vec(message).expect("a push serialises to JSON");
        if json.len() > PUSH_BYTES_MAX {
            return Err(TooLarge(json.len()));
        }
        if json.len() <= GZIP_BYTES_MIN {
            return Ok(Self { bytes: json.into(), gzip: false });
        }
        Ok(Self { bytes: gzip(&json).into(), gzip: true })
    }
}
