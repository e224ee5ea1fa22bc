# The role of a node: containerd, the kubelet and kube-proxy.
# shellcheck shell=bash

binaries=$1 address=$2
configuration=$DATA/$name
socket=$STATE/$name/containerd.sock

# Paths that these programs hard-code: a private, empty folder each, so that nodes don't share them and the host keeps
# nothing. Those that the host lacks are made there, noted, and removed with the cluster.
for folder in /run/netns /run/containerd /var/lib/kubelet /var/lib/cni /var/log/containers /opt/containerd; do
  ! mkdir "$folder" 2>/dev/null || echo "$folder" >>"$STATE/folders-made"
  mount -t tmpfs tmpfs "$folder"
done

# The kubelet insists on these kernel settings, which are the whole host's: it finds what it wants, and writes into plain files.
while IFS='=' read -r setting value; do
  file=$STATE/$name/${setting##*/}
  echo "$value" >"$file"
  mount --bind "$file" "/proc/sys/$setting"
done <<SETTINGS
vm/overcommit_memory=1
vm/panic_on_oom=0
kernel/panic=10
kernel/panic_on_oops=1
kernel/keys/root_maxkeys=1000000
kernel/keys/root_maxbytes=25000000
SETTINGS

printf '%s\n' '127.0.0.1 localhost' "$address $name" >"$STATE/$name/hosts"
mount --bind "$STATE/$name/hosts" /etc/hosts

keep_running containerd containerd --config "$configuration/containerd.toml"
await ctr --address "$socket" version
for image in "${binaries%/bin}"/images/*.tar; do
  ctr --address "$socket" --namespace k8s.io images import "$image"
done

await api_server_is_ready

keep_running kubelet "$binaries/kubelet" --v=2 --config="$configuration/kubelet.yaml" \
  --kubeconfig="$CREDENTIALS/$name.kubeconfig" --root-dir="$configuration/kubelet" \
  --hostname-override="$name" --node-ip="$address" --node-labels="topology.kubernetes.io/zone=zone-${name#node}"
keep_running kube-proxy "$binaries/kube-proxy" --v=1 --config="$configuration/kube-proxy.yaml"
