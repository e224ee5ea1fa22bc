//! A server pod that the operator doesn't reach, while everybody else does.

use std::process::{Command, Stdio};

use serde_json::json;

use super::{Api, NAMESPACE, Pod, Release};

/// Among several slices that name a pod, the first by name counts: this one is before those of Kubernetes.
const SLICE: &str = "a-wrong-address";

/// The pod stands, for the operator, at an address where nobody answers; until this value ends.
#[derive(Debug)]
pub struct Cut<'a> {
    api: &'a Api,
}

impl Release {
    /// Cuts the way from the operator to `pod`. One at a time.
    pub async fn cut(&self, pod: &Pod) -> Cut<'_> {
        let target = json!({"kind": "Pod", "name": pod.name, "namespace": NAMESPACE, "uid": pod.uid});
        let labels = json!({"kubernetes.io/service-name": "carillon-server-admin"});
        self.api
            .apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": SLICE, "namespace": NAMESPACE, "labels": labels},
                "ports": [{"name": "admin", "port": 1}],
                "endpoints": [{"addresses": [pod.ip], "conditions": {"ready": true}, "targetRef": target}],
            }))
            .await;
        Cut { api: &self.api }
    }
}

impl Cut<'_> {
    /// Lets the operator reach the pod again.
    pub async fn mend(self) {
        self.api.delete(&format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{SLICE}")).await;
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("kubectl");
        command.args(["--namespace", NAMESPACE, "delete", "endpointslice", SLICE, "--ignore-not-found"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}
