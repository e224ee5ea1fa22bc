//! Every key and channel name in Redis. The part in braces decides the slot of a Redis Cluster: all that is one tenant's lives together.

use carillon_tenant::{FleetName, TenantId};

/// The key of the MAC of session ids, where no operator pushes one.
pub fn session_key(fleet: &FleetName) -> String {
    format!("carillon:{{{}}}:session-key", slot(fleet))
}

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

/// The pods of a fleet that live, by the time until which they are known to.
pub fn pods(fleet: &FleetName) -> String {
    format!("carillon:{{{}}}:pods", slot(fleet))
}

/// Where a pod of a fleet says that it lives, and where it is reached.
pub fn pod(fleet: &FleetName, pod: &str) -> String {
    format!("carillon:{{{}}}:pod:{pod}", slot(fleet))
}

/// What decides the slot of a fleet's own keys. No tenant's id holds a colon.
fn slot(fleet: &FleetName) -> String {
    if fleet.is_default() { "fleet".to_owned() } else { format!("fleet:{fleet}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_names_its_tenant() {
        let tenant = TenantId::new("acme.eu-1").unwrap();
        assert_eq!(bus(&tenant), "carillon:{acme.eu-1}:bus");
        assert_eq!(tenant_of_bus(&bus(&tenant)), Some("acme.eu-1"));
        let fleet = FleetName::default();
        for other in ["", "carillon:{acme}:presence", "other:{acme}:bus", &session_key(&fleet), &pod(&fleet, "p1")] {
            assert_eq!(tenant_of_bus(other), None, "{other}");
        }
    }

    #[test]
    fn fleets_have_keys_of_their_own_and_the_default_one_those_it_always_had() {
        let (default, noisy) = (FleetName::default(), FleetName::new("noisy").unwrap());
        assert_eq!((pods(&default), pod(&default, "p1")), ("carillon:{fleet}:pods".to_owned(), "carillon:{fleet}:pod:p1".to_owned()));
        assert_eq!(session_key(&default), "carillon:{fleet}:session-key");
        assert_eq!(pods(&noisy), "carillon:{fleet:noisy}:pods");
        assert_eq!(pod(&noisy, "p1"), "carillon:{fleet:noisy}:pod:p1");
    }
}
