//! The other servers, over Redis. Without Redis there are none, and every verb here does nothing.

use std::net::SocketAddr;

use carillon_tenant::TenantId;

use crate::fan_out::Publication;

/// A handle to the fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    pod: String,
}

impl Fleet {
    /// A fleet of one.
    pub fn alone(pod: String) -> Self {
        Self { pod }
    }

    /// This pod's id, as it stands in the session ids that long-polling clients hold.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// Hears the tenant's messages from other pods, until [`unhost`](Self::unhost) was called as often.
    pub async fn host(&self, _tenant: &TenantId) {}

    /// One connection of the tenant less.
    pub fn unhost(&self, _tenant: &TenantId) {}

    /// Hands a publication to the other pods. Never waits.
    pub fn publish(&self, _tenant: &TenantId, _publication: &Publication) {}

    /// Where the pod of that id serves clients.
    pub async fn locate(&self, _pod: &str) -> Option<SocketAddr> {
        None
    }

    /// Commands sent to Redis so far.
    pub fn redis_commands(&self) -> u64 {
        0
    }
}
