# Names, places and addresses; everything else reads them from here.
# shellcheck shell=bash disable=SC2034

readonly DEFAULT_NODES=2
readonly MAX_NODES=9

# Sockets, process records and the kubeconfig; a reboot may empty it.
readonly STATE=/run/carillon-cluster
# What is big or should outlive a node's restart. Not under /run, which may be small, in memory and mounted noexec.
readonly DATA=/var/lib/carillon-cluster
readonly LOGS=$DATA/logs
readonly CREDENTIALS=$DATA/credentials
readonly KUBECONFIG_FILE=$STATE/kubeconfig
readonly CACHE=${CARILLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/carillon}/cluster

# All of these exist only inside the cluster's own network namespaces.
readonly BRIDGE=carillon0
readonly CONTROL_PLANE_ADDRESS=10.77.0.1
readonly API_SERVER=https://$CONTROL_PLANE_ADDRESS:6443
readonly POD_NETWORK=10.244.0.0/16
readonly SERVICE_NETWORK=10.96.0.0/16
readonly API_SERVICE_ADDRESS=10.96.0.1
readonly DNS_SERVICE_ADDRESS=10.96.0.10
node_address() { echo "10.77.0.1$1"; }
node_pod_network() { echo "10.244.$1.0/24"; }

# Shorter than the defaults (50 and 300), so that tests of a lost node need not wait minutes.
readonly NODE_GRACE_SECONDS=20
readonly EVICTION_SECONDS=30

# Under every cgroup hierarchy: the parent of all that a node's kubelet creates.
node_cgroup() { echo "carillon-node$1"; }
