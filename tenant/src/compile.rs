//! From a resource and its resolved Secrets to one message for the servers. Pure: what it needs is handed in.

use std::collections::{BTreeMap, BTreeSet};

use carillon_crds::{ClaimNames, ConditionType, JwksSpec, JwtKeySpec, JwtSpec, QuotaSpec, RealtimeTenantSpec, Reason, SecretKeyReference};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Class, ClassOutcome, ConfigVersion, GeneratedKeys, OriginPattern, Quotas, SecretBytes, TenantConfig, TenantId, TenantMessage,
    auth::{self, NamedKeySets},
    generated::{self, API_KEY_NAME},
    jwks::{Fetched, JwksSource, KeySets},
    jwt_policy::{JwtMessage, KeyMessage, prepare},
    push::ApiKeyMessage,
    revocation::compile_revocation,
};

/// Shortest API key, in bytes.
const API_KEY_BYTES_MIN: usize = 32;
/// Longest Secret that is looked at, in bytes.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// Why a configuration can't be used: a stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCode {
    /// A field's value.
    Invalid,
    /// A quota beyond what the class allows.
    ExceedsClass,
    /// A class that does not exist.
    ClassNotFound,
    /// A class that can't be used.
    ClassInvalid,
    /// A class that does not allow the namespace.
    NamespaceNotAllowed,
    /// A class whose fleet is not served.
    FleetNotFound,
    /// A Secret that does not exist.
    SecretNotFound,
    /// A Secret without the key that is named.
    SecretKeyNotFound,
    /// A Secret's content.
    SecretInvalid,
    /// Generated keys that are not there yet.
    GeneratedSecretPending,
    /// A Secret of the name of generated keys that belongs to somebody else.
    GeneratedSecretNotOwned,
    /// Generated keys where none are made.
    GenerateDisabled,
    /// A key set that was never fetched.
    JwksUnavailable,
    /// A key set that was not fetched for too long.
    JwksStale,
}

impl RejectionCode {
    /// The reason that goes into the resource's conditions.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Invalid => Reason::Invalid,
            Self::ExceedsClass => Reason::ExceedsClass,
            Self::ClassNotFound => Reason::ClassNotFound,
            Self::ClassInvalid => Reason::ClassInvalid,
            Self::NamespaceNotAllowed => Reason::NamespaceNotAllowed,
            Self::FleetNotFound => Reason::FleetNotFound,
            Self::SecretNotFound => Reason::SecretNotFound,
            Self::SecretKeyNotFound => Reason::SecretKeyNotFound,
            Self::SecretInvalid => Reason::SecretInvalid,
            Self::GeneratedSecretPending => Reason::GeneratedSecretPending,
            Self::GeneratedSecretNotOwned => Reason::GeneratedSecretNotOwned,
            Self::GenerateDisabled => Reason::GenerateDisabled,
            Self::JwksUnavailable => Reason::JwksUnavailable,
            Self::JwksStale => Reason::JwksStale,
        }
    }

    /// The condition that it makes `False`.
    pub const fn condition(self) -> ConditionType {
        match self {
            Self::Invalid
            | Self::ExceedsClass
            | Self::ClassNotFound
            | Self::ClassInvalid
            | Self::NamespaceNotAllowed
            | Self::FleetNotFound => ConditionType::Accepted,
            Self::SecretNotFound
            | Self::SecretKeyNotFound
            | Self::SecretInvalid
            | Self::GeneratedSecretPending
            | Self::GeneratedSecretNotOwned
            | Self::GenerateDisabled
            | Self::JwksUnavailable
            | Self::JwksStale => ConditionType::ResolvedRefs,
        }
    }
}

/// One thing that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable word.
    pub code: RejectionCode,
    /// The field, as in `spec.auth.jwt.keys[0].secretKeyRef`.
    pub field: String,
    /// What is wrong and what helps. Never holds a byte of a Secret.
    pub message: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

/// Why a Secret's key could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// There is no such Secret.
    SecretNotFound,
    /// The Secret has no such key.
    KeyNotFound,
}

/// What was found under each reference of one resource.
#[derive(Clone, Debug, Default)]
pub struct ResolvedSecrets(BTreeMap<SecretKeyReference, Result<SecretBytes, SecretError>>, KeySets, GeneratedKeys);

impl ResolvedSecrets {
    /// Resolves every reference of `spec` by `look_up`.
    pub fn resolve(spec: &RealtimeTenantSpec, mut look_up: impl FnMut(&SecretKeyReference) -> Result<SecretBytes, SecretError>) -> Self {
        Self(
            references(spec).into_iter().map(|reference| (reference.clone(), look_up(reference))).collect(),
            KeySets::new(),
            GeneratedKeys::default(),
        )
    }

    /// The same, and what is known of the key sets that the resource names.
    #[must_use]
    pub fn with_key_sets(self, key_sets: KeySets) -> Self {
        Self(self.0, key_sets, self.2)
    }

    /// The same, and what is known of the keys that were made for the resource.
    #[must_use]
    pub fn with_generated(self, generated: GeneratedKeys) -> Self {
        Self(self.0, self.1, generated)
    }

    /// What is known of the keys that were made for the resource.
    pub const fn generated(&self) -> &GeneratedKeys {
        &self.2
    }

    /// What is known of key sets.
    pub const fn key_sets(&self) -> &KeySets {
        &self.1
    }

    fn get(&self, reference: &SecretKeyReference, field: String) -> Result<&SecretBytes, Rejection> {
        let SecretKeyReference { name, key } = reference;
        match self.0.get(reference) {
            Some(Ok(bytes)) if bytes.expose().len() > SECRET_BYTES_MAX => Err(Rejection {
                code: RejectionCode::SecretInvalid,
                field,
                message: format!("key {key:?} of Secret {name:?} is larger than {SECRET_BYTES_MAX} bytes"),
            }),
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(SecretError::KeyNotFound)) => {
                Err(Rejection { code: RejectionCode::SecretKeyNotFound, field, message: format!("Secret {name:?} has no key {key:?}") })
            }
            Some(Err(SecretError::SecretNotFound)) | None => Err(Rejection {
                code: RejectionCode::SecretNotFound,
                field,
                message: format!("Secret {name:?} does not exist in this namespace"),
            }),
        }
    }
}

/// Every Secret key that `spec` refers to.
pub fn references(spec: &RealtimeTenantSpec) -> BTreeSet<&SecretKeyReference> {
    let keys = spec.auth.jwt.keys.iter().map(|key| &key.secret_key_ref);
    keys.chain(spec.auth.api_keys.iter().map(|key| &key.secret_key_ref)).collect()
}

/// The tenant id of a resource: `spec.tenantId`, or `metadata.name`.
///
/// # Errors
///
/// A [`Rejection`] of the field that it comes from.
pub fn tenant_id(name: &str, spec: &RealtimeTenantSpec) -> Result<TenantId, Rejection> {
    let (field, text) = match &spec.tenant_id {
        Some(text) => ("spec.tenantId", text.as_str()),
        None => ("metadata.name", name),
    };
    TenantId::new(text).map_err(|error| Rejection {
        code: RejectionCode::Invalid,
        field: field.to_owned(),
        message: format!("as a tenant id {error}"),
    })
}

/// All that is wrong, or the message to push.
pub type CompileOutcome = Result<TenantMessage, Vec<Rejection>>;

/// Compiles the resource `name` of `generation`, under `class`.
///
/// # Errors
///
/// Every rejection that is found, so that they can be mended at once.
pub fn compile(name: &str, generation: i64, spec: &RealtimeTenantSpec, class: &ClassOutcome, secrets: &ResolvedSecrets) -> CompileOutcome {
    let mut rejections = Vec::new();
    let known = keep(&mut rejections, class.as_ref().map_err(Clone::clone));
    let class = known.and_then(Option::as_deref);
    let tenant_id = keep(&mut rejections, tenant_id(name, spec));
    if let Some(generate) = &spec.auth.generate {
        generated::check(generate, &mut rejections);
    }
    let (generated, generated_api) = keep(&mut rejections, secrets.generated().compile(name, spec)).unwrap_or_default();
    // What a class gives is not known where the class isn't.
    if known.is_some() && no_keys(spec, class) {
        rejections.push(invalid(
            "spec.auth.jwt.keys",
            "a tenant needs keys: give keys or jwks, let spec.auth.generate.jwtKey make one, or use a class whose defaults name jwks",
        ));
    }
    let jwt = compile_jwt(spec, class, secrets, &generated, &mut rejections);
    let mut api_keys = compile_api_keys(spec, secrets, &mut rejections);
    api_keys.extend(generated_api);
    let revocation = compile_revocation(&spec.auth.revocation, &mut rejections);
    let origins = compile_origins(spec, &mut rejections);
    check_quotas("spec.quotas", &spec.quotas, &mut rejections);
    if let Some(class) = class {
        class.check(&spec.quotas, &mut rejections);
    }
    let (Some(tenant_id), true) = (tenant_id, rejections.is_empty()) else { return Err(rejections) };

    let mut message = TenantMessage {
        tenant_id,
        config_version: ConfigVersion::new(generation, &[0; 32]),
        suspended: spec.suspended,
        jwt,
        revocation,
        api_keys,
        origins,
        quotas: Quotas::merge(&spec.quotas, class),
    };
    // The hash is over the canonical form with a version that says only the generation.
    let canonical = serde_json::to_vec(&message).expect("a message serialises to JSON");
    message.config_version = ConfigVersion::new(generation, &Sha256::digest(canonical).into());
    // What servers do with it, so that nothing is pushed that they would refuse.
    TenantConfig::try_from(message.clone()).map_err(|rejection| vec![rejection])?;
    Ok(message)
}

fn keep<T>(rejections: &mut Vec<Rejection>, result: Result<T, Rejection>) -> Option<T> {
    result.map_err(|rejection| rejections.push(rejection)).ok()
}

pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Rejection {
    Rejection { code: RejectionCode::Invalid, field: field.into(), message: message.into() }
}

/// True when nobody names a key for `spec`.
fn no_keys(spec: &RealtimeTenantSpec, class: Option<&Class>) -> bool {
    let generates = spec.auth.generate.as_ref().is_some_and(|generate| generate.jwt_key.is_some());
    spec.auth.jwt.keys.is_empty() && !generates && NamedKeySets::of(spec, class).jwks.is_empty()
}

fn compile_jwt(
    spec: &RealtimeTenantSpec,
    class: Option<&Class>,
    secrets: &ResolvedSecrets,
    generated: &[KeyMessage],
    rejections: &mut Vec<Rejection>,
) -> JwtMessage {
    let jwt = &spec.auth.jwt;
    check_count("spec.auth.jwt.keys", jwt.keys.len(), 0, 16, rejections);
    auth::check("spec.auth.jwt", jwt, rejections);
    let mut kids: BTreeSet<_> = generated.iter().filter_map(|key| key.kid.as_ref()).collect();
    for (index, key) in jwt.keys.iter().enumerate() {
        if let Some(kid) = &key.kid
            && !kids.insert(kid)
        {
            rejections.push(invalid(
                format!("spec.auth.jwt.keys[{index}].kid"),
                format!("{kid:?} stands twice; kid must be unique within the tenant"),
            ));
        }
    }
    let mut keys: Vec<_> =
        jwt.keys.iter().enumerate().filter_map(|(index, key)| keep(rejections, compile_key(index, key, secrets))).collect();
    keys.extend_from_slice(generated);
    let named = NamedKeySets::of(spec, class);
    for (index, spec) in named.jwks.iter().enumerate() {
        for key in keep(rejections, fetched_keys(&named, index, spec, secrets.key_sets())).into_iter().flatten() {
            // Two sources may publish the same key.
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
    }
    let JwtSpec { issuer, audiences, leeway_seconds, max_lifetime_seconds, claims, on_expiry, .. } = auth::merged(jwt, class);
    JwtMessage {
        keys,
        issuer,
        audiences: audiences.map(|audiences| audiences.into_iter().collect()),
        leeway_seconds: leeway_seconds.unwrap_or(JwtSpec::LEEWAY_SECONDS),
        max_lifetime_seconds,
        tenant_claim: claims.tenant.unwrap_or_else(|| ClaimNames::TENANT.to_owned()),
        user_claim: claims.user.unwrap_or_else(|| ClaimNames::USER.to_owned()),
        on_expiry: on_expiry.unwrap_or_default(),
    }
}

fn compile_key(index: usize, key: &JwtKeySpec, secrets: &ResolvedSecrets) -> Result<KeyMessage, Rejection> {
    let field = format!("spec.auth.jwt.keys[{index}].secretKeyRef");
    let message = KeyMessage {
        kid: key.kid.clone(),
        algorithm: key.algorithm,
        material: secrets.get(&key.secret_key_ref, field.clone())?.clone(),
        not_after: key.not_after.as_ref().map(|time| time.0.as_second()),
    };
    let SecretKeyReference { name, key } = &key.secret_key_ref;
    match prepare(message.clone()) {
        Ok(_) => Ok(message),
        Err(error) => {
            Err(Rejection { code: RejectionCode::SecretInvalid, field, message: format!("key {key:?} of Secret {name:?} {error}") })
        }
    }
}

/// The keys of a key set, which servers know as any other.
fn fetched_keys<'a>(named: &NamedKeySets, index: usize, spec: &JwksSpec, key_sets: &'a KeySets) -> Result<&'a [KeyMessage], Rejection> {
    let source = JwksSource::of(spec).map_err(|(field, message)| invalid(named.field(index, field), message))?;
    if !(60..=86_400).contains(&spec.refresh_seconds) {
        return Err(invalid(named.field(index, "refreshSeconds"), "must be from 60 to 86400"));
    }
    let why = match key_sets.get(&source) {
        Some(Fetched::Fresh(set) | Fetched::Stale(set, _)) => return Ok(&set.keys),
        Some(Fetched::Never(why)) => why,
        None => "it was not tried yet",
    };
    Err(Rejection {
        code: RejectionCode::JwksUnavailable,
        field: named.field(index, source.field()),
        message: format!("{source} could not be fetched: {why}"),
    })
}

fn compile_api_keys(spec: &RealtimeTenantSpec, secrets: &ResolvedSecrets, rejections: &mut Vec<Rejection>) -> Vec<ApiKeyMessage> {
    check_count("spec.auth.apiKeys", spec.auth.api_keys.len(), 0, 16, rejections);
    let mut names = BTreeSet::new();
    let mut compiled = Vec::new();
    for (index, key) in spec.auth.api_keys.iter().enumerate() {
        let field = format!("spec.auth.apiKeys[{index}].secretKeyRef");
        let generates = spec.auth.generate.as_ref().is_some_and(|generate| generate.api_key.is_some());
        if generates && key.name == API_KEY_NAME {
            rejections.push(invalid(
                format!("spec.auth.apiKeys[{index}].name"),
                format!("{API_KEY_NAME:?} is what the key of {} is called: choose another name", generated::FIELD),
            ));
        }
        if !names.insert(&key.name) {
            rejections
                .push(invalid(format!("spec.auth.apiKeys[{index}].name"), format!("{:?} stands twice; names must be unique", key.name)));
        }
        let Some(bytes) = keep(rejections, secrets.get(&key.secret_key_ref, field.clone())) else { continue };
        // A file with a key in it commonly ends in a newline, and no HTTP header can hold one.
        let presented = bytes.expose().trim_ascii();
        if presented.len() < API_KEY_BYTES_MIN || !presented.iter().all(u8::is_ascii_graphic) {
            rejections.push(Rejection {
                code: RejectionCode::SecretInvalid,
                field,
                message: format!(
                    "key {:?} of Secret {:?} must be at least {API_KEY_BYTES_MIN} printable characters without spaces",
                    key.secret_key_ref.key, key.secret_key_ref.name
                ),
            });
            continue;
        }
        compiled.push(ApiKeyMessage {
            name: key.name.clone(),
            sha256: Sha256::digest(presented).into(),
            permissions: key.permissions.clone(),
        });
    }
    compiled
}

fn compile_origins(spec: &RealtimeTenantSpec, rejections: &mut Vec<Rejection>) -> Option<Vec<OriginPattern>> {
    let origins = spec.allowed_origins.as_ref()?;
    check_count("spec.allowedOrigins", origins.len(), 1, 32, rejections);
    let parsed = origins.iter().enumerate().filter_map(|(index, text)| {
        keep(rejections, OriginPattern::parse(text).map_err(|error| invalid(format!("spec.allowedOrigins[{index}]"), error)))
    });
    Some(parsed.collect())
}

/// What the schema says of numbers, for resources that were never held to it.
pub(crate) fn check_quotas(path: &str, quotas: &QuotaSpec, rejections: &mut Vec<Rejection>) {
    let ranges = [
        ("connections.burst", quotas.connections.burst, 1, Quotas::BURST_MAX),
        ("rooms.maxPerConnection", quotas.rooms.max_per_connection, 1, 1000),
        ("messages.burst", quotas.messages.burst, 1, Quotas::BURST_MAX),
        ("messages.burstPerConnection", quotas.messages.burst_per_connection, 1, 100_000),
        ("messages.maxBytes", quotas.messages.max_bytes, 64, Quotas::BYTES_MAX),
        ("publish.burst", quotas.publish.burst, 1, Quotas::BURST_MAX),
        ("publish.maxBytes", quotas.publish.max_bytes, 64, Quotas::BYTES_MAX),
    ];
    for (field, value, min, max) in ranges {
        if value.is_some_and(|value| !(min..=max).contains(&value)) {
            rejections.push(invalid(format!("{path}.{field}"), format!("must be from {min} to {max}")));
        }
    }
}

pub(crate) fn check_count(field: &str, count: usize, min: usize, max: usize, rejections: &mut Vec<Rejection>) {
    if !(min..=max).contains(&count) {
        rejections.push(invalid(field, format!("has {count} items; from {min} to {max} are allowed")));
    }
}
