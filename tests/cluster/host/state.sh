# What exists of a cluster, and how all of it goes away.
# shellcheck shell=bash

# One change at a time. The lock is on the folder /run itself, so that no file stays behind.
with_state_lock() {
  exec 9</run
  if ! flock --nonblock 9; then
    say "waiting for another 'cluster' command to finish"
    flock 9
  fi
  "$@"
}

create_state() {
  mkdir -p "$STATE" "$DATA" "$LOGS"
  chmod 711 "$STATE" "$DATA"
  echo "$1" >"$STATE/binaries"
}

leftovers_exist() { [[ -e $STATE || -e $DATA || -n $(cgroups_left) ]]; }

require_cluster() { [ -e "$STATE/kubeconfig" ] || die "no cluster is up: run 'cluster up' first"; }

# The binaries that the running cluster was started with.
running_binaries() { cat "$STATE/binaries"; }

node_numbers() {
  local folder
  for folder in "$DATA"/node[1-9]; do
    [ ! -d "$folder" ] || echo "${folder##*/node}"
  done
}

machine_names() {
  echo control-plane
  node_numbers | sed 's/^/node/'
}

remove_everything() {
  local name
  for name in $(machine_names); do kill_machine "$name"; done
  for name in $(machine_names); do await_machine_end "$name"; done
  end_processes_in_networks
  remove_networks
  remove_cgroups
  remove_folders_made
  # Were something of another file system still mounted below, it must not be emptied.
  rm -rf --one-file-system "$STATE" "$DATA"
}

# Mount points that nodes had to make on the host (see inside/node.sh); by now they are empty.
remove_folders_made() {
  local folder
  [ -e "$STATE/folders-made" ] || return 0
  while IFS= read -r folder; do
    rmdir "$folder" 2>/dev/null || say "left alone, because something is in it: $folder"
  done <"$STATE/folders-made"
}
