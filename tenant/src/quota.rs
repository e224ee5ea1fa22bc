//! A tenant's limits, with every default filled in.

use carillon_crds::{Limit, QuotaSpec};
use serde::{Deserialize, Serialize};

/// Limits in force. Nothing is optional here: an absent field of the resource has taken its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quotas {
    /// Connections of the tenant on one pod.
    pub connections_max: Limit,
    /// Connections of one user on one pod.
    pub connections_per_user_max: Limit,
    /// Rooms one connection may be in.
    pub rooms_per_connection_max: u32,
    /// Messages per second that one connection may keep up.
    pub messages_rate_per_second_per_connection: Limit,
    /// Messages one connection may send at once.
    pub messages_burst_per_connection: u32,
    /// Size of one message, in bytes.
    pub message_bytes_max: u32,
    /// Size of one published event's data, in bytes.
    pub publish_bytes_max: u32,
}

impl Quotas {
    /// Largest message or publish any tenant may be given, in bytes. The engine's own buffers are sized for it.
    pub const BYTES_MAX: u32 = 1_048_576;
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            connections_max: Limit::Max(1000),
            connections_per_user_max: Limit::Max(20),
            rooms_per_connection_max: 100,
            messages_rate_per_second_per_connection: Limit::Max(20),
            messages_burst_per_connection: 40,
            message_bytes_max: 65_536,
            publish_bytes_max: 262_144,
        }
    }
}

impl From<&QuotaSpec> for Quotas {
    fn from(spec: &QuotaSpec) -> Self {
        let default = Self::default();
        Self {
            connections_max: spec.connections.max.unwrap_or(default.connections_max),
            connections_per_user_max: spec.connections.max_per_user.unwrap_or(default.connections_per_user_max),
            rooms_per_connection_max: spec.rooms.max_per_connection.unwrap_or(default.rooms_per_connection_max),
            messages_rate_per_second_per_connection: spec
                .messages
                .rate_per_second_per_connection
                .unwrap_or(default.messages_rate_per_second_per_connection),
            messages_burst_per_connection: spec.messages.burst_per_connection.unwrap_or(default.messages_burst_per_connection),
            message_bytes_max: spec.messages.max_bytes.unwrap_or(default.message_bytes_max),
            publish_bytes_max: spec.publish.max_bytes.unwrap_or(default.publish_bytes_max),
        }
    }
}
