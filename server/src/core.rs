//! What the parts of one server share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use carillon_tenant::Code;

use crate::{
    config_store::{ConfigStore, View},
    fan_out::Tenant,
    fleet::Fleet,
    jwt::UnverifiedToken,
    metrics::Metrics,
    turnstile::Turnstile,
};

/// The shared parts.
pub struct Core {
    /// What this server runs.
    pub config: ConfigStore,
    /// The other servers.
    pub fleet: Fleet,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where connections that come or go wait for their turn.
    pub turnstile: Turnstile,
    draining: AtomicBool,
}

impl Core {
    /// Puts the parts together.
    pub fn new(config: ConfigStore, fleet: Fleet, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { config, fleet, metrics, turnstile: Turnstile::default(), draining: AtomicBool::new(false) })
    }

    /// True once the server is going: nobody new is let in.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Stops letting anybody in.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The tenant that `token` claims to be of. Nothing is proven by that: the token then has to verify against this tenant's keys.
    ///
    /// # Errors
    ///
    /// [`Code::ClaimMissing`], [`Code::TenantUnknown`] or, when it is another fleet's by now, [`Code::NotProgrammed`].
    pub fn tenant_of(&self, view: &View, token: &UnverifiedToken<'_>) -> Result<Arc<Tenant>, Code> {
        let (mut claimed, mut missing) = (false, Code::TenantUnknown);
        for claim in view.tenant_claims() {
            let Some(id) = token.id_claim(claim) else { continue };
            claimed = true;
            if missing == Code::TenantUnknown {
                missing = view.missing(&id);
            }
            if let Some(tenant) = view.tenant(&id).filter(|tenant| tenant.config().jwt.tenant_claim == *claim) {
                return Ok(tenant.clone());
            }
        }
        // With no tenant at all there is no claim to look for.
        Err(if claimed || view.tenant_claims().is_empty() { missing } else { Code::ClaimMissing })
    }
}
