# Tests can run on a cluster that somebody else made: CARILLON_TEST_KUBECONFIG names its kubeconfig.
# shellcheck shell=bash

uses_foreign_cluster() { [ -n "${CARILLON_TEST_KUBECONFIG:-}" ]; }

check_foreign_cluster() {
  local binaries
  [ -r "$CARILLON_TEST_KUBECONFIG" ] || die "CARILLON_TEST_KUBECONFIG: can't read $CARILLON_TEST_KUBECONFIG"
  binaries=$(command_build)
  "$binaries/kubectl" --kubeconfig "$CARILLON_TEST_KUBECONFIG" --request-timeout=10s get --raw /readyz >/dev/null ||
    die "the cluster of CARILLON_TEST_KUBECONFIG does not answer as ready"
  say "using the cluster of CARILLON_TEST_KUBECONFIG"
}

refuse_foreign_cluster() {
  ! uses_foreign_cluster || die "$1 works only on a cluster made here, and CARILLON_TEST_KUBECONFIG is set"
}
