# What works and what doesn't: for people ('status', 'logs'), and for 'up', which keeps a cluster only when all of it works.
# shellcheck shell=bash

command_status() {
  local machine component state broken=0
  if uses_foreign_cluster; then
    check_foreign_cluster
    command_run kubectl get nodes
    return
  fi
  require_root
  # Not require_cluster: a cluster that failed on its way up is what this is for.
  [ -e "$STATE/binaries" ] || die "no cluster is up: run 'cluster up' first"
  while IFS=' ' read -r machine component state; do
    printf '%-14s %-24s %s\n' "$machine" "$component" "$state"
    [ "$state" = ok ] || broken=1
  done < <(check_components)
  return "$broken"
}

runs_as_wanted() {
  local nodes=$1 binaries=$2
  [[ -e $STATE/binaries && -e $KUBECONFIG_FILE && $(running_binaries) = "$binaries" ]] || return 1
  [ "$(node_numbers | tr '\n' ' ')" = "$(seq -s ' ' "$nodes") " ] || return 1
  ! check_components | grep -qv ' ok$'
}

# A line per component: MACHINE COMPONENT ok|down.
check_components() {
  local number
  check control-plane etcd probe_url control-plane http://127.0.0.1:2379/health
  check control-plane kube-apiserver admin_kubectl get --raw /readyz
  check control-plane kube-controller-manager probe_url control-plane https://127.0.0.1:10257/healthz
  check control-plane kube-scheduler probe_url control-plane https://127.0.0.1:10259/healthz
  check control-plane kube-proxy probe_url control-plane http://127.0.0.1:10256/livez
  for number in $(node_numbers); do
    check "node$number" machine machine_is_alive "node$number"
    check "node$number" containerd ctr --address "$STATE/node$number/containerd.sock" --connect-timeout 2s version
    check "node$number" kubelet probe_url "node$number" http://127.0.0.1:10248/healthz
    check "node$number" kube-proxy probe_url "node$number" http://127.0.0.1:10256/livez
  done
  check all nodes-ready nodes_are_ready
  check all dns dns_is_available
}

check() {
  local machine=$1 component=$2
  shift 2
  if "$@" >/dev/null 2>&1; then echo "$machine $component ok"; else echo "$machine $component down"; fi
}

# --insecure: the controllers' certificates are their own; all of this stays in our namespaces.
probe_url() { in_network "$1" curl --silent --fail --insecure --max-time 3 --output /dev/null "$2"; }

command_logs() {
  local wanted=${1:-} lines=15 file name found=0
  require_root
  [ -d "$LOGS" ] || die "there are no logs: no cluster is up"
  [ -z "$wanted" ] || lines=200
  for file in "$LOGS"/*/*.log; do
    name=${file#"$LOGS/"}
    name=${name%.log}
    [[ -z $wanted || $name = "$wanted" || ${name#*/} = "$wanted" || ${name%/*} = "$wanted" ]] || continue
    found=1
    printf '==> %s (%s)\n' "$name" "$file"
    tail -n "$lines" "$file"
  done
  [ "$found" = 1 ] || die "no log is called '$wanted'; there are: $(cd "$LOGS" && echo */*.log | sed 's/\.log//g')"
}
