//! Reads the Secrets one tenant refers to, and compiles it.
//!
//! Secrets are watched by metadata alone and read one by one, only when a tenant refers to them: the operator never receives
//! any other, and holds none beyond the compiled message.

use std::{collections::BTreeMap, sync::Arc};

use carillon_crds::{EffectiveStatus, RealtimeTenantSpec};
use carillon_tenant::{
    Class, ClassOutcome, CompileOutcome, FleetName, KeyReport, KeySets, ResolvedSecrets, SecretBytes, SecretError,
    auth::effective_auth,
    compile::{self, references},
    effective,
};
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Client};

use crate::{
    generate::{GenerateArgs, Seen, Want, secret_name},
    object::ObjectKey,
};

/// One tenant to resolve and compile.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which object.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// The generation of `spec`.
    pub generation: i64,
    /// Its spec.
    pub spec: Arc<RealtimeTenantSpec>,
    /// The class it is under.
    pub class: ClassOutcome,
    /// What is known of the key sets it names.
    pub key_sets: KeySets,
    /// The keys that are to be made for it; what the operator alone knows is added later.
    pub want: Option<Want>,
    /// The sync that waits for this.
    pub sync: Option<String>,
}

impl Job {
    /// The class it is under, if there is one that can be used.
    fn class(&self) -> Option<&Class> {
        self.class.as_ref().ok().and_then(Option::as_deref)
    }

    /// The fleet that is to carry it.
    fn fleet(&self) -> FleetName {
        self.class().map(|class| class.fleet.clone()).unwrap_or_default()
    }
}

/// What a tenant came to.
#[derive(Debug)]
pub struct Resolution {
    /// The resource version of each Secret that was read, by name; `None` where there is none.
    pub secrets: SecretVersions,
    /// The compiled message, or all that is wrong.
    pub outcome: CompileOutcome,
    /// The quotas that the message holds, if there is one.
    pub effective: EffectiveStatus,
    /// The fleet that carries it, if there is one.
    pub fleet: FleetName,
    /// What is told of its keys, if there is one.
    pub key_report: KeyReport,
    /// What was seen of the keys that were made for it, if it asks for some.
    pub generated: Option<Seen>,
}

impl Resolution {
    /// Compiles `job` with what was found.
    pub fn of(job: &Job, secrets: SecretVersions, resolved: ResolvedSecrets, generated: Option<Seen>) -> Self {
        let keys = generated.as_ref().map(|seen| seen.keys.clone()).unwrap_or_default();
        let resolved = &resolved.with_key_sets(job.key_sets.clone()).with_generated(keys);
        let class = job.class();
        Self {
            secrets,
            outcome: compile::compile(&job.key.name, job.generation, &job.spec, &job.class, resolved),
            effective: EffectiveStatus {
                class_name: class.map(|class| class.name.clone()),
                quotas: effective(&job.spec.quotas, class),
                auth: effective_auth(&job.spec.auth.jwt, class),
            },
            fleet: job.fleet(),
            key_report: KeyReport::new(&job.key.name, &job.spec, class, resolved),
            generated,
        }
    }
}

/// The resource version of each Secret a tenant refers to, by name; `None` where there is none.
pub type SecretVersions = BTreeMap<String, Option<String>>;

/// Resolves and compiles `job`.
///
/// # Errors
///
/// When the API server can't tell what a Secret holds.
pub async fn resolve(client: Client, job: &Job, arguments: &GenerateArgs) -> kube::Result<Resolution> {
    let api: Api<Secret> = Api::namespaced(client, &job.key.namespace);
    let mut found: BTreeMap<String, Option<Secret>> = BTreeMap::new();
    for reference in references(&job.spec) {
        if !found.contains_key(&reference.name) {
            found.insert(reference.name.clone(), api.get_opt(&reference.name).await?);
        }
    }
    let resolved = ResolvedSecrets::resolve(&job.spec, |reference| {
        let secret = found.get(&reference.name).and_then(Option::as_ref).ok_or(SecretError::SecretNotFound)?;
        let ByteString(bytes) = secret.data.as_ref().and_then(|data| data.get(&reference.key)).ok_or(SecretError::KeyNotFound)?;
        Ok(SecretBytes::from(bytes.clone()))
    });
    let mut generated = None;
    if let Some(want) = job.want.as_ref().filter(|want| want.generate.is_some()) {
        let name = secret_name(&job.key);
        let secret = match found.remove(&name) {
            Some(secret) => secret,
            None => api.get_opt(&name).await?,
        };
        let want = Want { endpoint: arguments.endpoint(&job.fleet()).cloned(), ..want.clone() };
        generated = Some(Seen::of(secret.as_ref(), &job.uid, &want, arguments.enabled, Timestamp::now()));
        found.insert(name, secret);
    }
    let version = |secret: Secret| secret.metadata.resource_version.unwrap_or_default();
    Ok(Resolution::of(job, found.into_iter().map(|(name, secret)| (name, secret.map(version))).collect(), resolved, generated))
}
