# A node, seen from the host: its configuration and its cgroups; what runs in it is in inside/node.sh.
# shellcheck shell=bash

# Also starts a node that was there before: its disk is as it was, what was in memory is gone.
start_node() {
  local number=$1
  create_node_network "$number"
  create_node_credentials "$number"
  create_cgroups "$number"
  mkdir -p "$DATA/node$number"/{containerd,kubelet,pods,volume-plugins,cni}
  write_kube_proxy_configuration "node$number" "node$number"
  write_kubelet_configuration "$number"
  write_containerd_configuration "$number"
  write_cni_configuration "$number"
  start_machine "node$number" node "$(running_binaries)" "$(node_address "$number")"
}

wait_for_nodes() {
  wait_until 120 nodes_are_ready || die "not all nodes are Ready after 120 s; see 'cluster logs kubelet'"
}

nodes_are_ready() {
  local number expected=''
  for number in $(node_numbers); do expected+="node$number "; done
  [ "$(admin_kubectl get nodes -o json | jq -r '[.items[] | select(any(.status.conditions[]; .type == "Ready" and .status == "True")) | .metadata.name + " "] | sort | add')" = "$expected" ]
}

crash_container() {
  local namespace=$1 pod=$2 container=$3 description node id
  description=$(admin_kubectl --namespace "$namespace" get pod "$pod" -o json)
  node=$(jq -r .spec.nodeName <<<"$description")
  id=$(jq -r --arg name "$container" 'first(.status.containerStatuses[] | select($name == "" or .name == $name)) | .containerID // ""' <<<"$description")
  [ -n "$id" ] || die "pod $namespace/$pod has no such running container"
  ctr --address "$STATE/$node/containerd.sock" --namespace k8s.io tasks kill --signal SIGKILL "${id#containerd://}"
}

# cgroup v1 (every hierarchy by itself) or v2. The kubelet expects its root to exist.
create_cgroups() {
  local hierarchy cgroup
  for hierarchy in $(cgroup_hierarchies); do
    cgroup=$hierarchy/$(node_cgroup "$1")
    mkdir -p "$cgroup"
    # A v1 cpuset starts empty, and then nothing can run in it.
    if [ -e "$hierarchy/cpuset.cpus" ] && [ ! -e "$hierarchy/cgroup.controllers" ]; then
      cat "$hierarchy/cpuset.cpus" >"$cgroup/cpuset.cpus"
      cat "$hierarchy/cpuset.mems" >"$cgroup/cpuset.mems"
    fi
  done
}

cgroup_hierarchies() {
  local hierarchy
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
    return
  fi
  for hierarchy in /sys/fs/cgroup/*; do
    # cgroup.controllers marks a v2 hierarchy beside v1 ones; no kubelet uses it.
    if [[ -e $hierarchy/cgroup.procs && ! -e $hierarchy/cgroup.controllers && ! -L $hierarchy ]]; then echo "$hierarchy"; fi
  done
}

# Looks into every hierarchy: beside v1, container runtimes also make cgroups in a v2 hierarchy that controls nothing.
cgroups_left() {
  local cgroup
  for cgroup in /sys/fs/cgroup/{,*/}"$(node_cgroup '')"[1-9]; do
    [ ! -d "$cgroup" ] || echo "$cgroup"
  done
}

remove_cgroups() {
  wait_until 10 try_remove_cgroups || die "these cgroups are still busy: $(cgroups_left | tr '\n' ' ')"
}

# Processes that have just ended keep their cgroup busy for a moment.
try_remove_cgroups() {
  local cgroup
  for cgroup in $(cgroups_left); do find "$cgroup" -depth -type d -exec rmdir {} \; || return 1; done
}

write_kubelet_configuration() {
  local number=$1 name=node$1
  # failCgroupV1: false lets it run on cgroup v1; swap, a full disk and the OOM score are the host's affair, not a test's.
  cat >"$DATA/$name/kubelet.yaml" <<CONFIGURATION
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$STATE/$name/containerd.sock
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$(node_cgroup "$number")
failSwapOn: false
oomScoreAdj: 0
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $CREDENTIALS/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
tlsCertFile: $CREDENTIALS/$name.crt
tlsPrivateKeyFile: $CREDENTIALS/$name.key
clusterDNS: [$DNS_SERVICE_ADDRESS]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: $DATA/$name/pods
volumePluginDir: $DATA/$name/volume-plugins
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: $NODE_GRACE_SECONDS
CONFIGURATION
}

write_containerd_configuration() {
  local name=node$1 snapshotter runc
  snapshotter=$(usable_snapshotter)
  runc=$(command -v runc)
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE no container could start otherwise.
  if containerd --version | grep -q ' v\?2\.'; then
    cat >"$DATA/$name/containerd.toml" <<CONFIGURATION
version = 3
root = "$DATA/$name/containerd"
state = "$STATE/$name/containerd"
[grpc]
  address = "$STATE/$name/containerd.sock"
[ttrpc]
  address = "$STATE/$name/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "$snapshotter"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "carillon.dev/cluster/pause:built"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "$runc"
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "$DATA/$name/cni"
CONFIGURATION
  else
    cat >"$DATA/$name/containerd.toml" <<CONFIGURATION
version = 2
root = "$DATA/$name/containerd"
state = "$STATE/$name/containerd"
[grpc]
  address = "$STATE/$name/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "carillon.dev/cluster/pause:built"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$snapshotter"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "$runc"
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$DATA/$name/cni"
CONFIGURATION
  fi
}

# An overlay can't lie on an overlay, which is what a container's own root often is; plain copies always work.
usable_snapshotter() {
  local trial
  trial=$(mktemp -d "$DATA/overlay-trial.XXXXXX")
  mkdir "$trial"/{lower,upper,work,merged}
  if unshare --mount mount -t overlay overlay -o "lowerdir=$trial/lower,upperdir=$trial/upper,workdir=$trial/work" "$trial/merged" 2>/dev/null; then
    echo overlayfs
  else
    echo native
  fi
  rm -rf "$trial"
}

write_cni_configuration() {
  # ptp, not bridge: every packet between pods is routed, so that Services work without the kernel's bridge filter.
  cat >"$DATA/node$1/cni/10-carillon.conflist" <<CONFIGURATION
{"cniVersion": "1.0.0", "name": "carillon", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$STATE/node$1/addresses",
    "ranges": [[{"subnet": "$(node_pod_network "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
CONFIGURATION
}
