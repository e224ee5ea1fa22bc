# A machine of the cluster, the control plane or a node: network, pid, mount, uts and ipc namespaces of its own, with
# inside/machine-init as process 1. When that process ends, the kernel ends everything else in it.
# shellcheck shell=bash

# start_machine NAME ROLE ARGUMENT...: runs inside/ROLE.sh with the arguments, and returns when process 1 has recorded itself.
start_machine() {
  local name=$1 role=$2
  shift 2
  rm -rf --one-file-system "${STATE:?}/$name"
  mkdir -p "$STATE/$name" "$LOGS/$name"
  (
    # Neither the state lock nor a pipe that some caller waits on may stay open in a machine.
    local descriptor
    for descriptor in /proc/"$BASHPID"/fd/*; do
      descriptor=${descriptor##*/}
      ((descriptor < 3)) || eval "exec $descriptor>&-"
    done
    # An empty environment: proxy settings, for one, would lead kubelets astray.
    exec setsid nsenter --net="$(network_of "$name")" \
      env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
      unshare --mount --uts --ipc --pid --fork --kill-child \
      bash "$here/inside/machine-init" "$name" "$role" "$@"
  ) </dev/null >>"$LOGS/$name/machine.log" 2>&1 &
  wait_until 10 process_is "$(machine_record "$name")" || die "$name did not start; see $LOGS/$name/machine.log"
}

machine_record() { echo "$STATE/$1/init.pid"; }

machine_is_alive() { process_is "$(machine_record "$1")"; }

kill_machine() {
  local pid
  machine_is_alive "$1" || return 0
  read -r pid _ <"$(machine_record "$1")"
  kill -s KILL "$pid"
}

# Process 1 of a pid namespace is gone only when all others in it are.
await_machine_end() {
  wait_until 30 process_is_gone "$(machine_record "$1")" || die "$1 does not end"
}

stop_machine() {
  kill_machine "$1"
  await_machine_end "$1"
}
