//! From what was read to what a server runs: the operator's part, without the cluster.

use std::collections::HashMap;

use carillon_crds::{Permission, RealtimeTenantSpec, Reason, SecretKeyReference};
use carillon_tenant::{
    ClassOutcome, CompileOutcome, GeneratedKeys, KeySets, RejectionCode, ResolvedSecrets, SecretBytes, SecretError, TenantId,
    TenantMessage,
    compile::{Rejection, compile},
};

use super::{
    Finding, Manifests, ObjectName, Place, Severity, TenantObject, classes,
    generated::{self, Credentials, LocalKeys},
    key_sets,
    suggestion::nearest,
};

/// Files have no generations; the version of a configuration moves with its hash alone.
const GENERATION: i64 = 1;

/// What the files ask for.
#[derive(Debug, Default)]
pub struct Program {
    /// Tenants that compile.
    pub served: Vec<Served>,
    /// Tenants that exist but don't compile.
    pub keep: Vec<TenantId>,
    /// All there is to say, in the order of files.
    pub findings: Vec<Finding>,
}

/// A tenant that compiles.
#[derive(Debug)]
pub struct Served {
    /// The resource it comes from.
    pub object: ObjectName,
    /// Where that stands.
    pub place: Place,
    /// What a server is told.
    pub message: TenantMessage,
    /// A key that may publish over the HTTP API, if the tenant has one.
    pub publish_key: Option<SecretBytes>,
    /// The keys that were generated for it, if it asks for some.
    pub generated: Option<Credentials>,
}

impl Program {
    /// Compiles every tenant of `manifests`, of key sets knowing nothing, with generated keys that nobody will use.
    pub fn compile(manifests: Manifests) -> Self {
        Self::compile_with(manifests, &KeySets::new(), &LocalKeys::passing())
    }

    /// Compiles every tenant of `manifests` with what is known of key sets, and with `local` keys in place of those that are to be generated.
    pub fn compile_with(manifests: Manifests, key_sets: &KeySets, local: &LocalKeys) -> Self {
        let mut program = Self::default();
        let known = classes::compile(&manifests, &mut program.findings);
        let mut holders: HashMap<TenantId, String> = HashMap::new();
        for tenant in &manifests.tenants {
            if let Some(id) = &tenant.id {
                if let Some(holder) = holders.get(id) {
                    program.findings.push(conflicted(tenant, id, holder));
                    continue;
                }
                let ObjectName { namespace, name, .. } = &tenant.object;
                holders.insert(id.clone(), format!("{namespace}/{name} ({})", tenant.source.place("")));
            }
            program.tenant(&manifests, tenant, &classes::choose(&manifests, &known, tenant), (key_sets, local));
        }
        program.findings.extend(manifests.findings);
        program.findings.sort_by(|one, other| one.place.cmp(&other.place));
        program
    }

    /// The tenant of that id.
    pub fn served(&self, id: &str) -> Option<&Served> {
        self.served.iter().find(|served| served.message.tenant_id.as_str() == id)
    }

    /// How many of the findings are of `severity`.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn tenant(&mut self, manifests: &Manifests, tenant: &TenantObject, class: &ClassOutcome, (known, local): (&KeySets, &LocalKeys)) {
        let outcome = tenant.spec.as_ref().map(|spec| {
            let (key_sets, findings) = key_sets::of(tenant, spec, class.as_ref().ok().and_then(Option::as_deref), known);
            self.findings.extend(findings);
            let generated = generated::of(manifests, tenant, spec, local);
            self.findings.extend(generated::note(tenant, &generated));
            let found = (key_sets, generated.as_ref().map(|credentials| credentials.keys.clone()).unwrap_or_default());
            (spec, compile_one(manifests, &tenant.object, spec, class, found), generated)
        });
        match outcome {
            Some((spec, Ok(message), generated)) => {
                let publish_key = publish_key(manifests, &tenant.object, spec);
                self.served.push(Served {
                    object: tenant.object.clone(),
                    place: tenant.source.place(""),
                    message,
                    publish_key: publish_key.or_else(|| generated.as_ref()?.publish_key(spec)),
                    generated,
                });
            }
            rejected => {
                self.keep.extend(tenant.id.clone());
                let rejections = rejected.and_then(|(_, outcome, _)| outcome.err()).unwrap_or_default();
                self.findings.extend(rejections.into_iter().map(|rejection| finding(manifests, tenant, rejection)));
            }
        }
    }
}

fn compile_one(
    manifests: &Manifests,
    object: &ObjectName,
    spec: &RealtimeTenantSpec,
    class: &ClassOutcome,
    (key_sets, generated): (KeySets, GeneratedKeys),
) -> CompileOutcome {
    let secrets = ResolvedSecrets::resolve(spec, |reference| look_up(manifests, object, reference));
    compile(&object.name, GENERATION, spec, class, &secrets.with_key_sets(key_sets).with_generated(generated))
}

fn look_up(manifests: &Manifests, object: &ObjectName, reference: &SecretKeyReference) -> Result<SecretBytes, SecretError> {
    let secret = manifests.secret(&object.namespace, &reference.name).ok_or(SecretError::SecretNotFound)?;
    secret.value(&reference.key).cloned().ok_or(SecretError::KeyNotFound)
}

fn publish_key(manifests: &Manifests, object: &ObjectName, spec: &RealtimeTenantSpec) -> Option<SecretBytes> {
    let key = spec.auth.api_keys.iter().find(|key| key.permissions.contains(&Permission::Publish))?;
    let bytes = look_up(manifests, object, &key.secret_key_ref).ok()?;
    Some(bytes.expose().trim_ascii().to_vec().into())
}

fn conflicted(tenant: &TenantObject, id: &TenantId, holder: &str) -> Finding {
    let field = if tenant.source.document.text("/spec/tenantId").is_some() { "spec.tenantId" } else { "metadata.name" };
    Finding {
        severity: Severity::Error,
        place: tenant.source.place(field),
        object: Some(tenant.object.clone()),
        reason: Reason::Conflicted,
        field: field.to_owned(),
        message: format!("tenant id {:?} is held by {holder}: choose another one", id.as_str()),
        elsewhere: false,
    }
}

fn finding(manifests: &Manifests, tenant: &TenantObject, rejection: Rejection) -> Finding {
    let Rejection { code, field, mut message } = rejection;
    let unknown_namespace = code == RejectionCode::NamespaceNotAllowed && !manifests.namespaces.contains_key(&tenant.object.namespace);
    match code {
        RejectionCode::SecretNotFound => message.push_str(&where_else(manifests, tenant, &field)),
        RejectionCode::GeneratedSecretPending => message.push_str(generated::HOW_TO_MEND),
        RejectionCode::ClassNotFound => message.push_str(&like(manifests, tenant)),
        _ if unknown_namespace => message.push_str("; the Namespace is not in these files, nor are its labels"),
        _ => {}
    }
    Finding {
        severity: Severity::Error,
        place: tenant.source.place(&field),
        object: Some(tenant.object.clone()),
        reason: code.reason(),
        field,
        message,
        elsewhere: unknown_namespace || matches!(code, RejectionCode::SecretNotFound | RejectionCode::ClassNotFound),
    }
}

/// The class that was probably meant.
fn like(manifests: &Manifests, tenant: &TenantObject) -> String {
    let wanted = tenant.spec.as_ref().and_then(|spec| spec.class_name.as_deref()).unwrap_or_default();
    let names = manifests.classes.iter().map(|class| &*class.object.name);
    nearest(wanted, names).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default()
}

/// Where the Secret that is missed probably is: under a name much like it, or in another namespace.
fn where_else(manifests: &Manifests, tenant: &TenantObject, field: &str) -> String {
    let pointer = format!("/{}/name", field.replace('[', ".").replace(']', "").replace('.', "/"));
    let Some(wanted) = tenant.source.document.text(&pointer) else { return String::new() };
    let own = &tenant.object.namespace;
    if let Some(secret) = manifests.secrets.iter().find(|secret| &*secret.object.name == wanted) {
        let namespace = &secret.object.namespace;
        return format!("; there is one in namespace {namespace:?}, but a tenant reads Secrets of its own namespace, {own:?}, alone");
    }
    let names = manifests.secrets.iter().filter(|secret| secret.object.namespace == *own).map(|secret| &*secret.object.name);
    nearest(wanted, names).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default()
}
