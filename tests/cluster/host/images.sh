# Images without an engine or a registry: written by image.py, imported into each node's containerd.
# shellcheck shell=bash

command_image() {
  [ $# -ge 4 ] || die "usage: cluster image OUT.tar REF ENTRYPOINT FILE[=DEST]..."
  python3 "$here/image.py" "$@"
}

command_load() {
  local image number import imports=()
  refuse_foreign_cluster load
  require_root
  require_cluster
  [ $# -gt 0 ] || die "usage: cluster load TAR..."
  for image in "$@"; do [ -r "$image" ] || die "can't read $image"; done
  for number in $(node_numbers); do
    machine_is_alive "node$number" || { say "node$number is not running: nothing loaded there"; continue; }
    load_into_node "$number" "$@" 9>&- &
    imports+=($!)
  done
  for import in "${imports[@]}"; do wait "$import" || die "not every node has the images"; done
}

load_into_node() {
  local number=$1 image
  shift
  for image in "$@"; do
    ctr --address "$STATE/node$number/containerd.sock" --namespace k8s.io images import "$image" >/dev/null
  done
}
