//! Every key and channel name in Redis. The part in braces decides the slot of a Redis Cluster: all that is one tenant's lives together.

use carillon_tenant::TenantId;

/// The key of the MAC of session ids, where no operator pushes one.
pub const SESSION_KEY: &str = "carillon:{fleet}:session-key";

/// The channel that carries a tenant's messages between pods.
pub fn bus(tenant: &TenantId) -> String {
    format!("carillon:{{{tenant}}}:bus")
}

/// The tenant whose [`bus`] has this name.
pub fn tenant_of_bus(channel: &str) -> Option<&str> {
    channel.strip_prefix("carillon:{")?.strip_suffix("}:bus")
}

/// What a tenant's pods count together: the pods, the users, the rooms.
pub fn counts(tenant: &TenantId) -> [String; 3] {
    ["pods", "users", "rooms"].map(|part| format!("carillon:{{{tenant}}}:quota:{part}"))
}

/// The pods that live, by the time until which they are known to.
pub const PODS: &str = "carillon:{fleet}:pods";

/// Where a pod says that it lives, and where it is reached.
pub fn pod(pod: &str) -> String {
    format!("carillon:{{fleet}}:pod:{pod}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_names_its_tenant() {
        let tenant = TenantId::new("acme.eu-1").unwrap();
        assert_eq!(bus(&tenant), "carillon:{acme.eu-1}:bus");
        assert_eq!(tenant_of_bus(&bus(&tenant)), Some("acme.eu-1"));
        for other in ["", "carillon:{acme}:presence", "other:{acme}:bus", SESSION_KEY, &pod("p1")] {
            assert_eq!(tenant_of_bus(other), None, "{other}");
        }
    }
}
