//! What this server runs: one immutable view, swapped whole.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use carillon_tenant::{
    Change, Code, OriginPolicy, Position, TenantConfig, TenantId, TenantMessage,
    protocol::Versions,
    push::{Answer, Applied, ConflictCode, Delta, Elsewhere, FleetSettings, Rejected, Snapshot, State, UsageReport, digest},
};

use tokio::sync::watch;

use crate::{fan_out::Tenant, fleet::Fleet, metrics::Metrics, origin_index::OriginIndex, tls::InForce};

/// So many tenants of other fleets are remembered.
const ELSEWHERE_MAX: usize = 100_000;

/// The tenants in force. A cheap handle.
#[derive(Clone, Debug)]
pub struct ConfigStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    boot_id: String,
    frontend: OriginPolicy,
    metrics: Arc<Metrics>,
    fleet: Fleet,
    view: ArcSwap<View>,
    /// Held by the one push that is being applied.
    applying: Mutex<()>,
    /// The latest that a push came with, whatever became of it: what comes with an earlier one is too late.
    position: Mutex<Position>,
    heard: Mutex<Option<Heard>>,
    /// True while this server runs what it found when it started, and no operator has confirmed that.
    unconfirmed: AtomicBool,
    /// Those of the admin port; empty without one.
    certificates: OnceLock<watch::Receiver<Arc<InForce>>>,
}

/// When the operator was heard.
#[derive(Debug)]
struct Heard {
    at: Instant,
    /// How old its words were then.
    age: Duration,
}

/// Everything a handshake or a publish looks up.
#[derive(Debug, Default)]
pub struct View {
    tenants: HashMap<TenantId, Arc<Tenant>>,
    /// Their ids, in order.
    ids: Arc<[TenantId]>,
    /// The digest of what they run, as it was computed when this view was put in force.
    digest: String,
    /// Names of claims that hold a tenant id somewhere, the usual one first.
    tenant_claims: Arc<[String]>,
    origins: Arc<OriginIndex>,
    /// Tenants that other fleets carry, each with the claim that holds its id: their clients are to look again.
    elsewhere: HashMap<TenantId, Arc<str>>,
    /// What all servers share; `None` until the first snapshot.
    pub settings: Option<FleetSettings>,
}

impl View {
    /// The tenant of that id.
    pub fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// What is said to whoever claims to be of a tenant that is not here.
    pub fn missing(&self, id: &str) -> Code {
        if self.elsewhere.contains_key(id) { Code::NotProgrammed } else { Code::TenantUnknown }
    }

    /// Every tenant.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// Names of claims that hold a tenant id, the usual one first.
    pub fn tenant_claims(&self) -> &[String] {
        &self.tenant_claims
    }

    /// True when some tenant lets pages of `origin` in.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.allows(origin)
    }
}

impl ConfigStore {
    /// A store that holds nothing yet.
    pub fn new(boot_id: String, frontend: OriginPolicy, metrics: Arc<Metrics>, fleet: Fleet) -> Self {
        Self(Arc::new(Inner {
            boot_id,
            frontend,
            metrics,
            fleet,
            view: ArcSwap::default(),
            applying: Mutex::default(),
            position: Mutex::default(),
            heard: Mutex::default(),
            unconfirmed: AtomicBool::new(false),
            certificates: OnceLock::new(),
        }))
    }

    /// What is in force. Load it once per event, and finish with it.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.0.view.load()
    }

    /// True once a snapshot was taken.
    pub fn programmed(&self) -> bool {
        self.view().settings.is_some()
    }

    /// The fleet's own origins, for tenants that name none.
    pub fn frontend(&self) -> &OriginPolicy {
        &self.0.frontend
    }

    /// True while this server runs what it found when it started, and no operator has confirmed that.
    pub fn is_unconfirmed(&self) -> bool {
        self.0.unconfirmed.load(Ordering::Acquire)
    }

    /// True when a refusal by `code` may be due to what this server doesn't know yet: others may know the tenant or the key.
    pub fn may_be_wrong_about(&self, code: Code) -> bool {
        self.is_unconfirmed() && matches!(code, Code::TenantUnknown | Code::ClaimMissing | Code::KeyUnknown | Code::SignatureInvalid)
    }

    /// Seconds since the operator was last heard, by this server or in what it started with; 0 before that.
    pub fn age_seconds(&self) -> f64 {
        let heard = self.0.heard.lock().expect("no panic under this lock");
        heard.as_ref().map_or(0.0, |Heard { at, age }| (at.elapsed() + *age).as_secs_f64())
    }

    /// What is in force, for the operator.
    pub fn state(&self) -> State {
        self.hear();
        // One that nobody has pushed to is to be told, even if there is nothing to change.
        let position = if self.is_unconfirmed() { Position::default() } else { *self.0.position.lock().expect("no panic under this lock") };
        let view = self.view();
        State {
            protocol_version: Versions::SPOKEN.minimum,
            protocol_versions: Some(Versions::SPOKEN),
            boot_id: self.0.boot_id.clone(),
            programmed: view.settings.is_some(),
            position,
            fleet_digest: view.settings.as_ref().map(carillon_tenant::push::FleetSettings::digest),
            // Not the one that was computed before: who asks for this looks for what has drifted.
            digest: digest_of(&view.tenants, &view.ids),
            applied: view.tenants.values().map(|tenant| applied(tenant)).collect(),
            certificates: self.certificates().map(|certificates| certificates.report()),
        }
    }

    /// Tells the operator of `certificates`, too. Those that come first stay.
    pub fn tell_certificates(&self, certificates: watch::Receiver<Arc<InForce>>) {
        self.0.certificates.set(certificates).ok();
    }

    /// The certificates of the admin port.
    pub fn certificates(&self) -> Option<Arc<InForce>> {
        Some(self.0.certificates.get()?.borrow().clone())
    }

    /// What tenants use here, for the operator. No sign that it looked at the configuration.
    pub fn usage(&self) -> UsageReport {
        let tenants = self.view().tenants().filter_map(|tenant| tenant.usage_report()).collect();
        UsageReport { boot_id: self.0.boot_id.clone(), tenants }
    }

    /// Replaces everything. Tenants that are refused, and those the snapshot says to keep, stay as they are.
    ///
    /// # Errors
    ///
    /// [`ConflictCode`] when something newer was pushed before.
    pub fn replace(&self, snapshot: Snapshot) -> Result<Answer, ConflictCode> {
        let Snapshot { position, fleet, tenants, keep, elsewhere, .. } = snapshot;
        let mentioned: HashSet<TenantId> = tenants.iter().map(|tenant| tenant.tenant_id.clone()).chain(keep).collect();
        let _applying = self.0.applying.lock().expect("no panic under this lock");
        self.advance(position)?;
        let removals = self.view().tenants.keys().filter(|id| !mentioned.contains(*id)).cloned().collect();
        let answer = self.apply(Some(fleet), tenants, (removals, Vec::new()), Some(elsewhere));
        self.confirm();
        Ok(answer)
    }

    /// Starts with what the operator wrote `age` ago, unless it has pushed already. What it pushed before that is too late from now on.
    pub fn boot(&self, snapshot: Snapshot, age: Duration) -> Option<Answer> {
        let _applying = self.0.applying.lock().expect("no panic under this lock");
        if self.programmed() || self.advance(snapshot.position).is_err() {
            return None;
        }
        // Before the view is: nobody is sent away for good meanwhile.
        self.0.unconfirmed.store(true, Ordering::Release);
        let answer = self.apply(Some(snapshot.fleet), snapshot.tenants, (Vec::new(), Vec::new()), None);
        *self.0.heard.lock().expect("no panic under this lock") = Some(Heard { at: Instant::now(), age });
        Some(answer)
    }

    /// Applies a change on top of the state that its base digest names.
    ///
    /// # Errors
    ///
    /// [`ConflictCode`] when that is not what is in force, or something newer was pushed before.
    pub fn change(&self, delta: Delta) -> Result<Answer, ConflictCode> {
        let _applying = self.0.applying.lock().expect("no panic under this lock");
        self.advance(delta.position)?;
        let view = self.view();
        if view.settings.is_none() || view.digest != delta.base_digest {
            return Err(ConflictCode::BaseDigest);
        }
        drop(view);
        let elsewhere = Some(delta.elsewhere).filter(|elsewhere| !elsewhere.is_empty());
        let answer = self.apply(None, delta.upserts, (delta.removals, delta.moved), elsewhere);
        self.confirm();
        Ok(answer)
    }

    /// Notes where a push leads to, unless that is behind.
    fn advance(&self, position: Position) -> Result<(), ConflictCode> {
        let mut latest = self.0.position.lock().expect("no panic under this lock");
        if position < *latest {
            tracing::warn!(%position, latest = %*latest, "push refused: it comes too late");
            let same_leader = position.epoch == latest.epoch;
            return Err(if same_leader { ConflictCode::StaleSeq } else { ConflictCode::StaleEpoch });
        }
        *latest = position;
        Ok(())
    }

    /// `moved` are those of `removals` that another fleet carries; `elsewhere`, if it is told, all that other fleets do.
    fn apply(
        &self,
        settings: Option<FleetSettings>,
        upserts: Vec<TenantMessage>,
        (removals, moved): (Vec<TenantId>, Vec<TenantId>),
        elsewhere: Option<Elsewhere>,
    ) -> Answer {
        let Inner { view, metrics, fleet, frontend, boot_id, .. } = &*self.0;
        let before = view.load_full();
        let mut tenants = before.tenants.clone();
        let (mut accepted, mut rejected, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for message in upserts {
            let (id, version) = (message.tenant_id.clone(), message.config_version.clone());
            accepted.push(Applied { tenant_id: id.clone(), config_version: version.clone() });
            if tenants.get(&id).is_some_and(|tenant| tenant.config().version == version) {
                continue;
            }
            match TenantConfig::try_from(message) {
                Ok(config) => changed.push(Arc::new(config)),
                Err(rejection) => {
                    accepted.pop();
                    tracing::warn!(tenant = %id, %version, field = rejection.field, "configuration rejected");
                    rejected.push(Rejected {
                        tenant_id: id,
                        config_version: version,
                        code: rejection.code,
                        field: rejection.field,
                        message: rejection.message,
                    });
                }
            }
        }
        // One tenant's change costs little beside many: what it leaves as it is, is not collected anew.
        let (mut reconfigured, mut added, mut looked_up_alike) = (Vec::new(), false, true);
        for config in changed {
            tracing::info!(change = %Change(&config.id, &config.version), tenant = %config.id, version = %config.version, suspended = config.suspended, "configuration applied");
            match tenants.get(&config.id) {
                Some(tenant) => {
                    looked_up_alike &= is_looked_up_alike(&tenant.config(), &config);
                    reconfigured.push((tenant.clone(), config));
                }
                None => {
                    added = true;
                    tenants.insert(config.id.clone(), Tenant::new(config, metrics.clone(), fleet.clone()));
                }
            }
        }
        let removed: Vec<_> = removals.iter().filter_map(|id| tenants.remove(id)).collect();
        // Live tenants first, then the view: whoever finds a tenant in the new view finds its new configuration in force.
        for (tenant, config) in &reconfigured {
            tenant.reconfigure(config.clone());
        }
        let told = elsewhere.is_some();
        let mut elsewhere = elsewhere.map_or_else(|| before.elsewhere.clone(), by_tenant);
        elsewhere.retain(|id, _| !tenants.contains_key(id) && (told || !removals.contains(id)));
        for tenant in removed.iter().filter(|tenant| moved.contains(&tenant.id)) {
            if elsewhere.len() >= ELSEWHERE_MAX {
                elsewhere.clear();
            }
            elsewhere.insert(tenant.id.clone(), tenant.config().jwt.tenant_claim.as_str().into());
        }
        let same_tenants = !added && removed.is_empty() && before.settings.is_some();
        let ids = if same_tenants { before.ids.clone() } else { in_order(&tenants) };
        let (tenant_claims, origins) = if same_tenants && looked_up_alike && !told && elsewhere.len() == before.elsewhere.len() {
            (before.tenant_claims.clone(), before.origins.clone())
        } else {
            let origins = OriginIndex::new(frontend, tenants.values().map(|tenant| tenant.config()));
            (claims_of(&tenants, &elsewhere), Arc::new(origins))
        };
        let digest = digest_of(&tenants, &ids);
        let settings = settings.or_else(|| before.settings.clone());
        let after = Arc::new(View { tenants, ids, digest: digest.clone(), tenant_claims, origins, elsewhere, settings });
        metrics.config_tenants.set(i64::try_from(after.tenants.len()).unwrap_or(i64::MAX));
        view.store(after.clone());
        for tenant in removed {
            let moved = after.elsewhere.contains_key(&tenant.id);
            tracing::info!(tenant = %tenant.id, moved, "tenant removed");
            if moved { tenant.send_elsewhere() } else { tenant.close() }
        }
        self.hear();
        Answer { boot_id: boot_id.clone(), digest, applied: accepted, rejected }
    }

    fn hear(&self) {
        *self.0.heard.lock().expect("no panic under this lock") = Some(Heard { at: Instant::now(), age: Duration::ZERO });
    }

    fn confirm(&self) {
        self.0.unconfirmed.store(false, Ordering::Release);
    }
}

fn applied(tenant: &Tenant) -> Applied {
    Applied { tenant_id: tenant.id.clone(), config_version: tenant.config().version.clone() }
}

fn in_order(tenants: &HashMap<TenantId, Arc<Tenant>>) -> Arc<[TenantId]> {
    let mut ids: Vec<_> = tenants.keys().cloned().collect();
    ids.sort_unstable();
    ids.into()
}

/// The same, by tenant.
fn by_tenant(elsewhere: Elsewhere) -> HashMap<TenantId, Arc<str>> {
    let claims = elsewhere.into_iter().map(|(claim, ids)| (Arc::from(claim), ids));
    claims.flat_map(|(claim, ids): (Arc<str>, Vec<TenantId>)| ids.into_iter().map(move |id| (id, Arc::clone(&claim)))).collect()
}

fn claims_of(tenants: &HashMap<TenantId, Arc<Tenant>>, elsewhere: &HashMap<TenantId, Arc<str>>) -> Arc<[String]> {
    let claims = tenants.values().map(|tenant| tenant.config().jwt.tenant_claim.clone());
    let claims_elsewhere: BTreeSet<&Arc<str>> = elsewhere.values().collect();
    let claims: BTreeSet<_> = claims.chain(claims_elsewhere.into_iter().map(|claim| claim.to_string())).collect();
    let mut claims: Vec<_> = claims.into_iter().collect();
    claims.sort_by_key(|claim| claim != "tenant_id");
    claims.into()
}

/// True when nothing that is collected over all tenants differs.
fn is_looked_up_alike(before: &TenantConfig, after: &TenantConfig) -> bool {
    before.origins == after.origins && before.jwt.tenant_claim == after.jwt.tenant_claim
}

/// The digest of what `tenants` run now; `ids` are theirs, in order.
fn digest_of(tenants: &HashMap<TenantId, Arc<Tenant>>, ids: &[TenantId]) -> String {
    let configs: Vec<Arc<TenantConfig>> =
        ids.iter().filter_map(|id| tenants.get(id)).map(|tenant| Guard::into_inner(tenant.config())).collect();
    digest(configs.iter().map(|config| (&config.id, &config.version)))
}
