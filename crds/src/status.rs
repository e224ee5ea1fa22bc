//! What the operator reports about a `RealtimeTenant`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EffectiveStatus, GeneratedStatus, KeyStatus};

/// Observed state of a `RealtimeTenant`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeTenantStatus {
    /// The `metadata.generation` this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the fleet is asked to run: the generation it was compiled from, a dash, and eight hex digits of the
    /// compiled configuration's hash, which moves with the Secrets and the class, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_version: Option<String>,
    /// How far the fleet has come with `configVersion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// The quotas that `configVersion` holds, and where each comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveStatus>,
    /// The keys that `configVersion` holds: the first twenty, those from Secrets before those that were fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub keys: Vec<KeyStatus>,
    /// The keys that the operator made for it, when `spec.auth.generate` asks for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedStatus>,
    /// What the tenant uses on all server pods together, as of `observedAt`. Written when it moved noticeably, at most every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageStatus>,
    /// The value of the annotation `carillon.dev/sync` when its Secrets were last read for it, and every server pod had acknowledged the push
    /// that followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub observed_sync: Option<String>,
    /// Accepted, ResolvedRefs, Programmed, QuotaSaturated and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many server pods of the tenant's fleet run `configVersion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// The fleet that carries the tenant, as its class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub name: Option<String>,
    /// Fleets whose pods still run the tenant, because it is on its way to the one above: the first five by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(max = 32)))]
    pub moving_from: Vec<String>,
    /// `programmed/eligible`, for people.
    pub summary: String,
    /// Server pods of that fleet: all of them should run this tenant.
    #[schemars(range(min = 0))]
    pub eligible: i32,
    /// Of these, pods that have acknowledged exactly `configVersion`.
    #[schemars(range(min = 0))]
    pub programmed: i32,
    /// Of these, pods that refused it.
    #[schemars(range(min = 0))]
    pub rejected: i32,
    /// Pods that have not acknowledged it: the first five by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub lagging: Vec<LaggingPod>,
}

/// What a tenant uses on all server pods together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageStatus {
    /// Connections and how many there may be, for people: `412/1000` or `412/Unlimited`.
    pub summary: String,
    /// Connections.
    #[schemars(range(min = 0))]
    pub connections: i64,
    /// Different users among them. While pods can't count together, a user counts once on each pod.
    #[schemars(range(min = 0))]
    pub users: i64,
    /// Different rooms with members. While pods can't count together, a room counts once on each pod.
    #[schemars(range(min = 0))]
    pub rooms: i64,
    /// Messages per second from clients.
    #[schemars(range(min = 0))]
    pub messages_per_second: i64,
    /// When that was so.
    pub observed_at: Time,
}

/// A server pod that does not run `configVersion` yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaggingPod {
    /// The pod's name.
    pub pod: String,
    /// What stands in the way, in a few words.
    pub reason: String,
    /// Since when.
    pub since: Time,
}
