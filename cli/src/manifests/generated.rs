//! Keys that the operator would make. Here those of the Secret stand in, when it is in the files, or else keys of the user who asks.

use carillon_crds::{Permission, RealtimeTenantSpec, Reason};
use carillon_tenant::{
    GeneratedKeys, SecretBytes,
    generated::{self, ApiEntry, JwtEntry, LEDGER_KEY, Ledger, NewApiKey, NewJwtKey, Role, derive},
};

use super::{Finding, Manifests, Severity, TenantObject};

/// What helps when the Secret is in the files and can't be used.
pub const HOW_TO_MEND: &str = "; it is in these files, but not as the operator wrote it: take it from the cluster whole (kubectl get secret -o yaml), \
                               or leave it out, so that keys of your own stand in";

/// Where keys come from that no Secret holds.
#[derive(Clone)]
pub struct LocalKeys {
    secret: [u8; 32],
    /// Why no other process has the same.
    passing: Option<String>,
}

impl std::fmt::Debug for LocalKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalKeys").field("passing", &self.passing).finish_non_exhaustive()
    }
}

impl LocalKeys {
    /// Keys that are gone with this process, and are meant to be.
    pub fn passing() -> Self {
        Self { secret: rand::random(), passing: Some("nobody asked for them".to_owned()) }
    }

    /// The same keys for every process that knows `secret`; without one, for this process alone.
    pub fn of(secret: Result<[u8; 32], String>) -> Self {
        match secret {
            Ok(secret) => Self { secret, passing: None },
            Err(why) => Self { passing: Some(why), ..Self::passing() },
        }
    }

    /// Why no other process has the same keys, if none has.
    pub fn why_passing(&self) -> Option<&str> {
        self.passing.as_deref()
    }

    fn make(&self, tenant: &TenantObject, spec: &RealtimeTenantSpec) -> Credentials {
        let (namespace, name) = (&tenant.object.namespace, &tenant.object.name);
        let entropy = |what: &str| derive(&self.secret, &format!("{what} {namespace}/{name}"));
        let generate = spec.auth.generate.as_ref();
        let jwt = generate.and_then(|generate| generate.jwt_key.as_ref());
        let jwt = jwt.map(|wanted| NewJwtKey::of(wanted.algorithm, entropy(&format!("{:?}", wanted.algorithm))));
        let api = generate.and_then(|generate| generate.api_key.as_ref()).map(|_| NewApiKey::of(entropy("api key")));
        let mut ledger = Ledger::default();
        ledger.jwt.extend(jwt.iter().map(|key| JwtEntry::new(key, Role::Current)));
        ledger.api.extend(api.iter().map(|key| ApiEntry::new(key, Role::Current)));
        Credentials { keys: ledger.into(), signing: jwt.map(|key| (key.kid, key.signing)), api_key: api.map(|key| key.0), local: true }
    }
}

/// The keys of one tenant.
#[derive(Debug)]
pub struct Credentials {
    /// What it is compiled with.
    pub keys: GeneratedKeys,
    /// What signs its tokens, and the `kid` of that.
    pub signing: Option<(String, SecretBytes)>,
    api_key: Option<SecretBytes>,
    /// True when they stand in for those of a cluster.
    pub local: bool,
}

impl Credentials {
    /// The key that publishes, if it may.
    pub fn publish_key(&self, spec: &RealtimeTenantSpec) -> Option<SecretBytes> {
        let wanted = spec.auth.generate.as_ref()?.api_key.as_ref()?;
        self.api_key.clone().filter(|_| wanted.permissions.contains(&Permission::Publish))
    }
}

/// The keys of `tenant`, which says `spec`: those of its Secret or, when that isn't there, `local` ones.
pub fn of(manifests: &Manifests, tenant: &TenantObject, spec: &RealtimeTenantSpec, local: &LocalKeys) -> Option<Credentials> {
    spec.auth.generate.as_ref()?;
    let name = generated::secret_name(&tenant.object.name);
    let Some(secret) = manifests.secret(&tenant.object.namespace, &name) else { return Some(local.make(tenant, spec)) };
    // Files know no owners.
    let ledger = secret.value(LEDGER_KEY).and_then(|bytes| Ledger::read(bytes.expose()).ok());
    let current = ledger.as_ref().and_then(Ledger::current_jwt);
    let signing = secret.value("jwtKey").filter(|signing| current.is_some_and(|key| key.is_half_of(Some(signing))));
    let signing = current.zip(signing).map(|(key, signing)| (key.kid.clone(), signing.clone()));
    let keys = ledger.map(GeneratedKeys::from).unwrap_or_default();
    Some(Credentials { keys, signing, api_key: secret.value("apiKey").cloned(), local: false })
}

/// What there is to say about them.
pub fn note(tenant: &TenantObject, credentials: &Option<Credentials>) -> Option<Finding> {
    credentials.as_ref().filter(|credentials| credentials.local)?;
    let secret = generated::secret_name(&tenant.object.name);
    Some(Finding {
        severity: Severity::Note,
        place: tenant.source.place(generated::FIELD),
        object: Some(tenant.object.clone()),
        reason: Reason::ResolvedRefs,
        field: generated::FIELD.to_owned(),
        message: format!("in a cluster the operator makes Secret {secret:?}; here keys of your own stand in for it"),
        elsewhere: false,
    })
}
