# The control plane, seen from the host; what runs in it is in inside/control-plane.sh.
# shellcheck shell=bash

start_control_plane() {
  create_control_plane_network
  create_credentials
  cat >"$STATE/resolv.conf" <<RESOLV
nameserver $DNS_SERVICE_ADDRESS
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
RESOLV
  # kube-proxy waits for a Node of its name, and the control plane isn't one: it borrows node1's.
  write_kube_proxy_configuration control-plane node1
  start_machine control-plane control-plane "$(running_binaries)"
}

# For the control plane as for nodes: MACHINE, and the NODE whose name it goes by.
write_kube_proxy_configuration() {
  local machine=$1 node=$2
  mkdir -p "$DATA/$machine"
  # conntrack limits are the whole host's: 0 leaves them alone. Lowering an OOM score needs a capability that sandboxes lack.
  cat >"$DATA/$machine/kube-proxy.yaml" <<CONFIGURATION
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $node
clientConnection: {kubeconfig: $CREDENTIALS/kube-proxy.kubeconfig}
clusterCIDR: $POD_NETWORK
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
CONFIGURATION
}

wait_for_control_plane() {
  wait_until 120 admin_kubectl get --raw /readyz || die "the API server is not ready after 120 s"
  # Published last: from here on, everybody may use the kubeconfig.
  install -m 600 "$CREDENTIALS/admin.kubeconfig" "$KUBECONFIG_FILE"
}

admin_kubectl() {
  in_network control-plane "$(running_binaries)/kubectl" --kubeconfig "$CREDENTIALS/admin.kubeconfig" --request-timeout=10s "$@"
}

wait_for_dns() {
  wait_until 120 dns_is_available || die "the cluster's DNS is not available after 120 s; see 'cluster logs'"
}

dns_is_available() {
  admin_kubectl --namespace kube-system get deployment coredns -o json |
    jq -e '.status.observedGeneration == .metadata.generation and .status.updatedReplicas == .spec.replicas
           and .status.availableReplicas == .spec.replicas'
}
