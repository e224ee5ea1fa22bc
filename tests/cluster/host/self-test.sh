# 'cluster self-test': everything that other tests rely on, tried once on the running cluster. The first failure ends it and
# leaves its namespace to look at.
# shellcheck shell=bash

readonly TEST_NAMESPACE=cluster-self-test
readonly TEST_URL=http://probe.$TEST_NAMESPACE

command_self_test() {
  [ $# -eq 0 ] || die "usage: cluster self-test"
  refuse_foreign_cluster self-test
  require_root
  require_cluster
  runs_as_wanted "$(node_numbers | wc -l)" "$(running_binaries)" || die "the cluster is not healthy; see 'cluster status'"
  remove_test_namespace
  begin "self-test (usually 60 s)"
  test_run
  test_images
  test_pods
  test_services
  test_dns
  test_api_access
  test_streams
  test_crash
  [ "$(node_numbers | wc -l)" -lt 2 ] || test_node_loss
  remove_test_namespace
  finish
}

# expect WHAT CMD...
expect() {
  local what=$1
  shift
  "$@" >/dev/null || die "self-test: NOT so: $what"
  say "  ok: $what"
}

# expect_within SECONDS WHAT CMD...
expect_within() {
  local seconds=$1 what=$2
  shift 2
  wait_until "$seconds" "$@" || die "self-test: NOT so within $seconds s: $what"
  say "  ok: $what"
}

equals() { [ "$("${@:2}")" = "$1" ]; }
contains() { [[ $("${@:2}") == *"$1"* ]]; }
fails() { ! "$@" 2>/dev/null; }

remove_test_namespace() { admin_kubectl --request-timeout=60s delete namespace "$TEST_NAMESPACE" --ignore-not-found --wait >/dev/null; }
ask_kubectl() { admin_kubectl --namespace "$TEST_NAMESPACE" "$@"; }
inside() { "$here/cluster" run "$@"; }
fetch() { inside curl --silent --show-error --fail --max-time 5 "$@"; }
pods() { ask_kubectl get pods -l app=probe -o json | jq -r "[.items[] | $1] | sort | join(\" \")"; }
pod_of_node() { ask_kubectl get pods -l app=probe --field-selector "spec.nodeName=node$1" -o json | jq -r '.items[0].metadata.name'; }
probe() { ask_kubectl exec "$(pod_of_node 1)" -- /probe "$@"; }

test_run() {
  # shellcheck disable=SC2016 # the variables are for the inner shell
  expect "run keeps stdin, arguments and folder" equals "$PWD: two words: from stdin" \
    inside bash -c 'echo "$PWD: $1: $(cat)"' name 'two words' <<<'from stdin'
  expect "run keeps the exit code" exit_code_of_run_is 42
  expect "run finds kubectl and helm" inside bash -c 'kubectl version && helm list --all-namespaces'
}

exit_code_of_run_is() {
  local code=0
  inside bash -c "exit $1" || code=$?
  [ "$code" -eq "$1" ]
}

test_images() {
  local folder program
  folder=$(mktemp -d)
  program=$(running_binaries)/probe
  command_image "$folder/first.tar" carillon-probe:self-test /probe "$program" >/dev/null
  touch "$program"
  command_image "$folder/second.tar" carillon-probe:self-test /probe "$program" >/dev/null
  expect "the same files make the same image" cmp "$folder/first.tar" "$folder/second.tar"
  expect "a dynamically linked program is refused" fails command_image "$folder/third.tar" test:test /bash /bin/bash
  expect "load imports an image" "$here/cluster" load "$folder/first.tar"
  rm -rf "$folder"
}

test_pods() {
  admin_kubectl apply -f "$here/manifests/self-test.yaml" >/dev/null
  expect_within 60 "a pod with probes is ready on every node" \
    equals "$(node_numbers | sed 's/^/node/' | paste -sd ' ')" pods 'select(any(.status.conditions[]; .type == "Ready" and .status == "True")) | .spec.nodeName'
  expect "PodSecurity refuses a privileged pod" fails \
    ask_kubectl run privileged --image carillon-probe:self-test --privileged
}

test_services() {
  local name address
  expect_within 10 "run reaches a Service by its name" fetch "$TEST_URL/healthz"
  for name in $(pods .metadata.name); do
    expect_within 20 "the Service leads to $name" equals "$name" fetch "$TEST_URL/name"
  done
  for address in $(pods .status.podIP); do
    expect "run reaches pod $address" fetch "http://$address:8080/healthz"
    expect "a pod reaches pod $address" probe fetch "http://$address:8080/healthz"
  done
  for name in $(pods .metadata.name); do
    expect_within 20 "a pod reaches $name (itself included) through the Service" equals "$name" probe fetch "$TEST_URL/name"
  done
}

test_dns() {
  local address
  address=$(ask_kubectl get service probe -o json | jq -r .spec.clusterIP)
  expect "a pod resolves a Service of its namespace" equals "$address" probe lookup probe
  expect "a pod resolves a Service's full name" equals "$address" probe lookup "probe.$TEST_NAMESPACE.svc.cluster.local"
  expect "run resolves a Service" contains "$address" inside getent ahostsv4 "probe.$TEST_NAMESPACE"
  expect "a name outside does not exist" contains 'no such host' probe_error lookup outside.example
}

probe_error() { probe "$@" 2>&1 || true; }

test_api_access() {
  expect "a pod lists pods with its ServiceAccount's token" equals "$(pods .metadata.name)" probe pods
}

test_streams() {
  local forwarder pod port=18080
  pod=$(pod_of_node 1)
  expect "kubectl logs" contains 'listens on :8080' ask_kubectl logs "$pod"
  expect "kubectl exec" equals "$API_SERVICE_ADDRESS" probe lookup kubernetes.default
  # Not through a function: $! has to be kubectl's own pid, which 'run' hands on.
  "$here/cluster" run kubectl --namespace "$TEST_NAMESPACE" port-forward "$pod" "$port:8080" >/dev/null &
  forwarder=$!
  expect_within 10 "kubectl port-forward" equals "$pod" fetch "http://127.0.0.1:$port/name"
  kill "$forwarder"
  wait "$forwarder" 2>/dev/null || true
}

test_crash() {
  local pod
  pod=$(pod_of_node 1)
  expect "crash kills a container" "$here/cluster" crash "$TEST_NAMESPACE/$pod"
  expect_within 30 "the kubelet starts it again" equals 1 restarts_when_ready "$pod"
}

restarts_when_ready() { ask_kubectl get pod "$1" -o json | jq '.status.containerStatuses[0] | select(.ready) | .restartCount'; }

test_node_loss() {
  local last
  last=$(node_numbers | tail -n 1)
  "$here/cluster" node-kill "$last"
  expect_within $((NODE_GRACE_SECONDS + 20)) "the lost node's pod leaves the Service" fails contains "$(pod_of_node "$last")" ready_endpoints
  # The cluster's DNS lost an endpoint too, and a query already on its way there is answered only when it is repeated.
  expect_within 20 "the Service still answers" fetch "$TEST_URL/healthz"
  "$here/cluster" node-up "$last"
  expect_within 60 "the node comes back with its pod" contains "$(pod_of_node "$last")" ready_endpoints
}

ready_endpoints() {
  ask_kubectl get endpointslices -l kubernetes.io/service-name=probe -o json |
    jq -r '.items[].endpoints[] | select(.conditions.ready) | .targetRef.name'
}
