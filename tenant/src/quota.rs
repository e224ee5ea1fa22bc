//! A tenant's limits, with every default filled in.

use carillon_crds::{Enforcement, Limit};
use serde::{Deserialize, Serialize};

/// Limits in force. Nothing is optional here: an absent field of the resource has taken its class's default, or the one below. They count over the whole fleet,
/// unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quotas {
    /// Connections of the tenant.
    pub connections_max: Limit,
    /// Connections of one user.
    pub connections_per_user_max: Limit,
    /// Connects per second that may be kept up.
    pub connections_rate_per_second: Limit,
    /// Connects that may come at once.
    pub connections_burst: u32,
    /// Different rooms with members.
    pub rooms_max: Limit,
    /// Connections in one room.
    pub room_members_max: Limit,
    /// Rooms one connection may be in.
    pub rooms_per_connection_max: u32,
    /// Rooms per second that may come into being; as many may do so at once.
    pub room_creations_rate_per_second: Limit,
    /// Messages per second that all clients together may keep up.
    pub messages_rate_per_second: Limit,
    /// Messages that all clients together may send at once.
    pub messages_burst: u32,
    /// Messages per second that one connection may keep up.
    pub messages_rate_per_second_per_connection: Limit,
    /// Messages one connection may send at once.
    pub messages_burst_per_connection: u32,
    /// Size of one message, in bytes.
    pub message_bytes_max: u32,
    /// Events per second that may be published.
    pub publish_rate_per_second: Limit,
    /// Events that may be published at once.
    pub publish_burst: u32,
    /// Size of one published event's data, in bytes.
    pub publish_bytes_max: u32,
    /// Bytes of data per second that may be delivered; twice as many may go at once.
    pub egress_bytes_per_second: Limit,
    /// Whether all this is enforced.
    pub enforcement: Enforcement,
}

impl Quotas {
    /// Largest message or publish any tenant may be given, in bytes. The engine's own buffers are sized for it.
    pub const BYTES_MAX: u32 = 1_048_576;
    /// Largest burst of a tenant.
    pub const BURST_MAX: u32 = 1_000_000;

    /// True when what goes beyond a limit is refused, false when it is only counted.
    pub fn enforced(&self) -> bool {
        self.enforcement == Enforcement::Enforce
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            connections_max: Limit::Max(1000),
            connections_per_user_max: Limit::Max(20),
            connections_rate_per_second: Limit::Max(100),
            connections_burst: 200,
            rooms_max: Limit::Max(1000),
            room_members_max: Limit::Max(1000),
            rooms_per_connection_max: 100,
            room_creations_rate_per_second: Limit::Max(50),
            messages_rate_per_second: Limit::Max(1000),
            messages_burst: 2000,
            messages_rate_per_second_per_connection: Limit::Max(20),
            messages_burst_per_connection: 40,
            message_bytes_max: 65_536,
            publish_rate_per_second: Limit::Max(200),
            publish_burst: 400,
            publish_bytes_max: 262_144,
            egress_bytes_per_second: Limit::Unlimited,
            enforcement: Enforcement::Enforce,
        }
    }
}
