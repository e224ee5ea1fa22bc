//! Which server pods exist, from the EndpointSlices of the headless admin Service of each fleet.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc};

use carillon_tenant::FleetName;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::fleets::{Fleets, SERVICE_LABEL};

/// The name of the port, in the slices, that takes pushes.
pub const ADMIN_PORT_NAME: &str = "admin";

/// The UID of a pod: another pod of the same name is another pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(pub String);

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A server pod that should run every tenant of its fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The fleet it is of.
    pub fleet: FleetName,
    /// Where it takes pushes.
    pub address: SocketAddr,
    /// Whether its readiness probe passes: no condition for being pushed to, but a change is a reason to ask how it is.
    pub ready: bool,
}

/// The slices of all fleets' admin Services, by name.
#[derive(Debug)]
pub struct Slices {
    fleets: Arc<Fleets>,
    slices: BTreeMap<String, EndpointSlice>,
}

impl Slices {
    /// None yet.
    pub const fn new(fleets: Arc<Fleets>) -> Self {
        Self { fleets, slices: BTreeMap::new() }
    }

    /// Takes up a new or changed slice.
    pub fn apply(&mut self, slice: EndpointSlice) {
        self.slices.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
    }

    /// Forgets a slice.
    pub fn remove(&mut self, name: &str) {
        self.slices.remove(name);
    }

    /// Forgets every slice whose name is not among `names`.
    pub fn retain(&mut self, names: &std::collections::BTreeSet<String>) {
        self.slices.retain(|name, _| names.contains(name));
    }

    /// Every pod that is not on its way out: not-ready ones are programmed, too, else they would never become ready.
    /// A pod in several slices (dual stack, or on its way from one to another) counts once, by the first of them.
    pub fn pods(&self) -> BTreeMap<PodUid, Pod> {
        let mut pods = BTreeMap::new();
        for slice in self.slices.values() {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
            let Some(fleet) = service.and_then(|service| self.fleets.of_service(service)) else { continue };
            let ports = slice.ports.iter().flatten();
            let port = ports.filter(|port| port.name.as_deref() == Some(ADMIN_PORT_NAME)).find_map(|port| u16::try_from(port.port?).ok());
            let Some(port) = port else { continue };
            for endpoint in &slice.endpoints {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                if conditions.terminating == Some(true) {
                    continue;
                }
                let Some(target) = &endpoint.target_ref else { continue };
                let (Some(uid), Some(name)) = (&target.uid, &target.name) else { continue };
                let Some(address) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
                pods.entry(PodUid(uid.clone())).or_insert_with(|| Pod {
                    name: name.clone(),
                    fleet: fleet.clone(),
                    address: SocketAddr::new(address, port),
                    // Absent means ready, says the API.
                    ready: conditions.ready != Some(false),
                });
            }
        }
        pods
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slices(slices: &[Value]) -> Slices {
        let fleets = ["default=one", "noisy=two"].map(|fleet| fleet.parse().unwrap());
        let mut all = Slices::new(Arc::new(Fleets::new(fleets.to_vec()).unwrap()));
        for slice in slices {
            all.apply(serde_json::from_value(slice.clone()).unwrap());
        }
        all
    }

    fn endpoint(uid: &str, address: &str, conditions: Value) -> Value {
        json!({"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": format!("pod-{uid}"), "uid": uid}})
    }

    fn slice(name: &str, family: &str, endpoints: &[Value]) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "one"}}, "addressType": family, "endpoints": endpoints,
            "ports": [{"name": "metrics", "port": 1}, {"name": "admin", "port": 9443}],
        })
    }

    #[test]
    fn not_ready_pods_count_and_terminating_ones_do_not() {
        let all = slices(&[slice(
            "a",
            "IPv4",
            &[
                endpoint("1", "10.0.0.1", json!({"ready": true, "serving": true, "terminating": false})),
                endpoint("2", "10.0.0.2", json!({"ready": false, "serving": false, "terminating": false})),
                endpoint("3", "10.0.0.3", json!({"ready": false, "serving": true, "terminating": true})),
                json!({"addresses": ["10.0.0.4"]}),
            ],
        )]);
        let pods: Vec<_> = all.pods().into_values().map(|pod| (pod.name, pod.address.to_string(), pod.ready)).collect();
        let expected = [("pod-1".to_owned(), "10.0.0.1:9443".to_owned(), true), ("pod-2".to_owned(), "10.0.0.2:9443".to_owned(), false)];
        assert_eq!(pods, expected);
    }

    #[test]
    fn a_pod_in_two_slices_counts_once() {
        let all = slices(&[
            slice("a-v4", "IPv4", &[endpoint("1", "10.0.0.1", json!({}))]),
            slice("b-v6", "IPv6", &[endpoint("1", "fd00::1", json!({}))]),
        ]);
        assert_eq!(all.pods().len(), 1);
        assert_eq!(all.pods()[&PodUid("1".to_owned())].address.to_string(), "10.0.0.1:9443");
    }

    #[test]
    fn a_pod_is_of_the_fleet_whose_service_lists_it() {
        let mut noisy = slice("b", "IPv4", &[endpoint("2", "10.0.0.2", json!({}))]);
        noisy["metadata"]["labels"]["kubernetes.io/service-name"] = json!("two");
        let mut foreign = slice("c", "IPv4", &[endpoint("3", "10.0.0.3", json!({}))]);
        foreign["metadata"]["labels"]["kubernetes.io/service-name"] = json!("three");
        let all = slices(&[slice("a", "IPv4", &[endpoint("1", "10.0.0.1", json!({}))]), noisy, foreign]);
        let fleets: Vec<_> = all.pods().into_values().map(|pod| pod.fleet.to_string()).collect();
        assert_eq!(fleets, ["default", "noisy"]);
    }

    #[test]
    fn slices_without_the_admin_port_and_slices_that_are_gone_name_no_pods() {
        let mut all = slices(&[
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "one"}}, "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
                   "endpoints": [endpoint("1", "10.0.0.1", json!({}))]}),
            slice("b", "IPv4", &[endpoint("2", "10.0.0.2", json!({}))]),
        ]);
        assert_eq!(all.pods().len(), 1);
        all.remove("b");
        assert!(all.pods().is_empty());
    }
}
