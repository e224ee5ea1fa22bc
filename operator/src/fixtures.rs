//! What the tests of several modules are made of.

use std::{collections::BTreeSet, sync::Arc};

use carillon_crds::RealtimeTenantSpec;
use carillon_tenant::{
    ConfigVersion, Limit, Position, ResolvedSecrets, SecretBytes, SecretError, TenantId, TenantMessage, compile,
    push::{Applied, FleetSettings, PROTOCOL_VERSION, State, TenantUsage, digest},
};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    classes::ClassObject,
    desired::Desired,
    index::Index,
    metrics::Outcome,
    object::TenantObject,
    resolve::Resolution,
    usage::{Limits, Usage},
};

pub fn id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

pub fn version(text: &str) -> ConfigVersion {
    serde_json::from_value(json!(text)).unwrap()
}

/// A tenant with one HS256 key in the Secret `keys`.
pub fn spec(tenant_id: &str) -> Value {
    json!({"tenantId": tenant_id, "auth": {"jwt": {"keys": [{"algorithm": "HS256", "secretKeyRef": {"name": "keys", "key": "current"}}]}}})
}

pub fn object(name: &str, created: &str, generation: i64, spec: &Value) -> TenantObject {
    let object = json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "spec": spec,
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"), "generation": generation, "creationTimestamp": created,
                     "resourceVersion": "1"},
    });
    serde_json::from_value::<DynamicObject>(object).unwrap().into()
}

/// A class that was created on that day.
pub fn class(name: &str, day: u8, default: bool, spec: &Value) -> ClassObject {
    let object = json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenantClass", "spec": spec,
        "metadata": {
            "name": name, "uid": format!("uid-{name}-{day}"), "generation": 1, "resourceVersion": "1",
            "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z"),
            "annotations": {"carillon.dev/is-default-class": if default { "true" } else { "false" }},
        },
    });
    serde_json::from_value::<DynamicObject>(object).unwrap().into()
}

/// Resolves everything that waits for it, as if the Secret `keys` held `secret`.
pub fn resolve_all(index: &mut Index, secret: Option<&str>) -> Vec<Option<Outcome>> {
    let mut outcomes = Vec::new();
    for key in index.take_changes().unresolved {
        let Some(job) = index.job(&key) else { continue };
        let secrets = ResolvedSecrets::resolve(&job.spec, |_| {
            secret.map(|secret| SecretBytes::from(secret.as_bytes().to_vec())).ok_or(SecretError::SecretNotFound)
        });
        let versions = [("keys".to_owned(), secret.map(str::to_owned))].into();
        outcomes.push(index.resolved(&job, Resolution::of(&job, versions, secrets, None)));
    }
    outcomes
}

/// Compiled from [`spec`] with another key for each `generation`.
pub fn message(tenant_id: &str, generation: i64) -> TenantMessage {
    let spec: RealtimeTenantSpec = serde_json::from_value(spec(tenant_id)).unwrap();
    let secrets = ResolvedSecrets::resolve(&spec, |_| Ok(SecretBytes::from(format!("{generation:032}").into_bytes())));
    compile::compile("any", generation, &spec, &Ok(None), &secrets).unwrap()
}

pub fn fleet() -> FleetSettings {
    FleetSettings { session_key: SecretBytes::from(vec![7; 32]) }
}

/// What [`desired`] leads to, and where [`state`] is.
pub const POSITION: Position = Position::new(1, 1);

pub fn desired(messages: &[TenantMessage], keep: &[&str]) -> Desired {
    let tenants = messages.iter().map(|message| (message.tenant_id.clone(), Arc::new(message.clone()))).collect();
    Desired::new(POSITION, fleet(), tenants, keep.iter().map(|text| id(text)).collect::<BTreeSet<_>>())
}

/// The state of a pod that was programmed with [`fleet`].
pub fn state(boot_id: &str, messages: &[&TenantMessage]) -> State {
    let applied: Vec<_> = messages.iter().map(|message| applied(message)).collect();
    State {
        protocol_version: PROTOCOL_VERSION,
        protocol_versions: None,
        boot_id: boot_id.to_owned(),
        programmed: true,
        position: POSITION,
        fleet_digest: Some(fleet().digest()),
        digest: digest_of(&applied),
        applied,
        certificates: None,
    }
}

pub fn applied(message: &TenantMessage) -> Applied {
    Applied { tenant_id: message.tenant_id.clone(), config_version: message.config_version.clone() }
}

pub fn digest_of(applied: &[Applied]) -> String {
    digest(applied.iter().map(|applied| (&applied.tenant_id, &applied.config_version)))
}

/// What one pod says of a tenant that uses `count` of everything there.
pub fn tenant_usage(tenant_id: &str, count: u64) -> TenantUsage {
    TenantUsage {
        tenant_id: id(tenant_id),
        connections: count,
        users: count,
        rooms: count,
        messages_per_second: count,
        fleet: None,
        limited: Vec::new(),
        unknown_kids: Vec::new(),
    }
}

/// What all pods say together of a tenant that may use 1000 of each.
pub fn usage(connections: u64, rooms: u64, messages_per_second: u64) -> Usage {
    let thousand = Limit::Max(1000);
    let limits = Limits { connections: thousand, rooms: thousand, messages_per_second: thousand, enforced: true };
    Usage { connections, users: connections, rooms, rooms_at_least: rooms, messages_per_second, limited: BTreeSet::new(), limits }
}
