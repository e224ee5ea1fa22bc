# Network namespaces, as files of our own rather than 'ip netns' names, so that nothing lies outside our folders:
#
#   control-plane: bridge carillon0 10.77.0.1 ── veth node1 ── eth0 10.77.0.11 :node1  (pods 10.244.1.0/24)
#                                             └─ veth node2 ── eth0 10.77.0.12 :node2  (pods 10.244.2.0/24)
#
# Nothing leads out of here: no address of the cluster can collide with the machine's own.
# shellcheck shell=bash

network_of() { echo "$STATE/networks/$1"; }

in_network() {
  local name=$1
  shift
  nsenter --net="$(network_of "$name")" -- "$@"
}

network_exists() { mountpoint -q "$(network_of "$1")"; }

create_network() {
  local file
  file=$(network_of "$1")
  mkdir -p "${file%/*}"
  touch "$file"
  unshare --net="$file" true
  in_network "$1" ip link set lo up
  in_network "$1" sysctl -qw net.ipv4.ip_forward=1
}

create_control_plane_network() {
  network_exists control-plane && return
  create_network control-plane
  in_network control-plane ip link add "$BRIDGE" type bridge
  in_network control-plane ip addr add "$CONTROL_PLANE_ADDRESS/24" dev "$BRIDGE"
  in_network control-plane ip link set "$BRIDGE" up
  # A packet to a ClusterIP needs some route before kube-proxy's rules get to rewrite it.
  in_network control-plane ip route add "$SERVICE_NETWORK" dev "$BRIDGE"
  # Where the kernel filters bridged packets, the control plane's kube-proxy rules would meddle with traffic between nodes.
  if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    in_network control-plane sysctl -qw net.bridge.bridge-nf-call-iptables=0
  fi
}

create_node_network() {
  local number=$1 other
  if network_exists "node$number"; then
    plug_node "$number"
    return
  fi
  create_network "node$number"
  in_network control-plane ip link add "node$number" type veth peer name eth0 netns "$(network_of "node$number")"
  in_network control-plane ip link set "node$number" master "$BRIDGE" up
  in_network "node$number" ip addr add "$(node_address "$number")/24" dev eth0
  in_network "node$number" ip link set eth0 up
  in_network "node$number" ip route add default via "$CONTROL_PLANE_ADDRESS"
  # Routes to nodes that may never come cost nothing, and spare every node from learning of each new one.
  in_network control-plane ip route add "$(node_pod_network "$number")" via "$(node_address "$number")"
  for ((other = 1; other <= MAX_NODES; other++)); do
    [ "$other" -eq "$number" ] || in_network "node$number" ip route add "$(node_pod_network "$other")" via "$(node_address "$other")"
  done
}

plug_node() { in_network control-plane ip link set "node$1" up; }
unplug_node() { in_network control-plane ip link set "node$1" down; }

remove_networks() {
  local file
  for file in "$STATE"/networks/*; do
    ! mountpoint -q "$file" || umount "$file"
  done
}

# Pids of all processes in one of our namespaces: what 'cluster run' started and left running, or a machine that an
# interrupted 'up' could not record. The namespaces are ours alone, so whatever is in them is ours to end.
processes_in_networks() {
  local file tests=()
  for file in "$STATE"/networks/*; do
    ! mountpoint -q "$file" || tests+=(-o -lname "net:\\[$(stat -Lc %i "$file")\\]")
  done
  [ ${#tests[@]} -gt 0 ] || return 0
  # find fails when a process ends while it looks.
  { find /proc/[0-9]*/ns/net -maxdepth 0 \( -false "${tests[@]}" \) -printf '%h\n' 2>/dev/null || true; } | cut -d / -f 3
}

end_processes_in_networks() {
  local signal pids
  for signal in TERM KILL KILL; do
    mapfile -t pids < <(processes_in_networks)
    [ ${#pids[@]} -gt 0 ] || return 0
    say "ending what is still in the cluster's network (SIG$signal): $(name_processes "${pids[@]}")"
    kill -s "$signal" "${pids[@]}" 2>/dev/null || true
    wait_until 2 networks_are_empty || true
  done
  networks_are_empty || die "can't end all processes in the cluster's network: $(processes_in_networks | tr '\n' ' ')"
}

name_processes() {
  local pid name
  for pid in "$@"; do
    { read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
    printf '%s (%s) ' "$name" "$pid"
  done
}

networks_are_empty() { [ -z "$(processes_in_networks)" ]; }

require_outside_cluster_network() {
  local own file
  own=$(stat -Lc %i /proc/self/ns/net)
  for file in "$STATE"/networks/*; do
    [[ ! -e $file || $(stat -Lc %i "$file") != "$own" ]] ||
      die "this would end the very command that asks for it: don't call it through 'cluster run'"
  done
}
