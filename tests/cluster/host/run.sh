# 'cluster run': a command in the cluster's network, otherwise in its caller's world.
# shellcheck shell=bash

command_run() {
  local binaries
  [ $# -gt 0 ] || die "usage: cluster run CMD..."
  if uses_foreign_cluster; then
    binaries=$(command_build)
    KUBECONFIG=$CARILLON_TEST_KUBECONFIG PATH=$binaries:$PATH exec "$@"
  fi
  require_root
  require_cluster
  KUBECONFIG=$KUBECONFIG_FILE PATH=$(running_binaries):$PATH \
    exec nsenter --net="$(network_of control-plane)" unshare --mount bash "$here/inside/run.sh" "$STATE/resolv.conf" "$@"
}
