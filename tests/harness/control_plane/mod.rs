//! An API server with its etcd, operators and servers, all of them processes of the test's own. Servers are shown to the API server as a
//! kubelet and a controller would show pods. Unlike in a whole Kubernetes everything can be killed, paused, delayed and lied to here.
//!
//! It needs a network in which 10.78.0.0/16 is this machine: `tests/control-plane` makes one.

mod api_server;
mod way;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use carillon_crds::definitions;
use serde_json::{Value, json};
use tokio::process::Command;

pub use self::{
    api_server::ApiServer,
    way::{Fault, Way},
};
use crate::{
    cluster::{Api, Kubectl, SLOW, eventually},
    command::operator_binary,
    folder::Folder,
    operator::{Operator, Replica},
    processes::Processes,
};

/// Where the operator finds server pods.
pub const NAMESPACE: &str = "carillon";
/// The admin Service of the default fleet.
pub const SERVICE: &str = "carillon-server-admin";
/// Where servers listen to which nothing is to happen on the way.
const PODS: Ipv4Addr = Ipv4Addr::new(10, 78, 255, 2);
/// How many servers there are: as many as `cluster::Team` awaits.
pub const SERVERS: usize = crate::cluster::REPLICAS;

/// All of it. It ends with this value.
#[derive(Debug)]
pub struct ControlPlane {
    /// The API server, for people.
    pub api: Api,
    /// The same, to be killed and restarted.
    pub server: ApiServer,
    /// The servers.
    pub fleet: Processes,
    /// The way to each of them.
    pub ways: Vec<Way>,
    folder: Folder,
}

impl ControlPlane {
    /// Starts an API server that knows our resources and shows [`SERVERS`] servers as pods. No operator runs yet.
    ///
    /// # Panics
    ///
    /// When the API server doesn't take the definitions.
    pub async fn start() -> Self {
        let (server, fleet) = tokio::join!(ApiServer::start(), Processes::start_for_an_operator(SERVERS));
        let mut ways = Vec::new();
        for number in 0..SERVERS {
            ways.push(Way::to(fleet.admin(number), &fleet.authority()).await);
        }
        let plane = Self::of(server, fleet, ways).await;
        for number in 0..SERVERS {
            plane.show(number, &format!("pod-{number}"), plane.ways[number].address()).await;
        }
        plane
    }

    /// The same with so many servers, and nothing on the ways to them.
    ///
    /// # Panics
    ///
    /// When the API server doesn't take the definitions.
    pub async fn start_without_faults(servers: usize) -> Self {
        let (server, fleet) = tokio::join!(ApiServer::start(), Processes::start_for_an_operator_at(PODS, servers));
        let plane = Self::of(server, fleet, Vec::new()).await;
        for number in 0..servers {
            plane.show(number, &format!("pod-{number}"), plane.fleet.admin(number)).await;
        }
        plane
    }

    async fn of(server: ApiServer, fleet: Processes, ways: Vec<Way>) -> Self {
        let folder = Folder::new("control-plane");
        fleet.authority().write_for_operator(folder.path());
        fs::write(folder.path().join("key"), [7; 32]).expect("the test's folder takes files");
        let api = Api::connect_by(Kubectl::new(server.kubectl(), server.kubeconfig())).await;
        let plane = Self { api, server, fleet, ways, folder };
        plane.api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await;
        for (name, yaml) in definitions() {
            let definition: Value = serde_saphyr::from_str(&yaml).expect("a definition is YAML");
            plane.api.apply(&definition).await;
            let path = format!("/apis/carillon.dev/v1alpha1/{}", name.trim_end_matches(".yaml"));
            eventually(SLOW, "the API server knows the resource", async || if plane.api.serves(&path).await { Ok(()) } else { Err(()) })
                .await;
        }
        plane
    }

    /// What the operator has mounted: the files of its certificate. It logs there, too.
    pub fn operator_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a replica of the operator and awaits that it is ready.
    pub async fn operator(&self, identity: &str) -> Operator {
        self.operator_with(identity, &[]).await
    }

    /// The same with this in its environment, too.
    pub async fn operator_with(&self, identity: &str, environment: &[(&str, &str)]) -> Operator {
        let mut command = Command::new(operator_binary().await);
        command.env("KUBECONFIG", self.server.kubeconfig()).envs(environment.iter().copied());
        Operator::start(command, Replica { identity, namespace: NAMESPACE, folder: self.folder.path() }).await
    }

    /// Shows the pod `uid` at `address`, as the server of that number.
    pub async fn show(&self, number: usize, uid: &str, address: SocketAddr) {
        self.show_in(SERVICE, number, uid, address).await;
    }

    /// The same as one of the fleet that has that admin Service.
    pub async fn show_in(&self, service: &str, number: usize, uid: &str, address: SocketAddr) {
        let target = json!({"kind": "Pod", "name": format!("server-{number}"), "namespace": NAMESPACE, "uid": uid});
        let labels = json!({"kubernetes.io/service-name": service});
        self.api
            .apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": format!("server-{number}"), "namespace": NAMESPACE, "labels": labels},
                "ports": [{"name": "admin", "port": address.port()}],
                "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}, "targetRef": target}],
            }))
            .await;
    }
}
