# Who a process is. A pid alone can be somebody else's by now; pid and start time together are not reused.
# Also sourced by inside/machine-init.
# shellcheck shell=bash

# read_process STAT_FILE PID_VARIABLE STATE_VARIABLE START_VARIABLE: from a /proc/PID/stat file.
# The start time is in clock ticks since boot, and boots are told apart by boot_id.
read_process() {
  local line fields
  { read -r line <"$1"; } 2>/dev/null || return 1
  # The second field is the command in parentheses, which may hold spaces: count from the last parenthesis.
  read -ra fields <<<"${line##*) }"
  printf -v "$2" %s "${line%% *}"
  printf -v "$3" %s "${fields[0]}"
  printf -v "$4" %s "${fields[19]}"
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# process_is RECORD: true while the process that wrote RECORD ("pid start-time boot-id") lives.
process_is() {
  local recorded_pid recorded_start recorded_boot pid state start
  { read -r recorded_pid recorded_start recorded_boot <"$1"; } 2>/dev/null || return 1
  read_process "/proc/$recorded_pid/stat" pid state start || return 1
  [[ $pid = "$recorded_pid" && $start = "$recorded_start" && $state != Z && $recorded_boot = "$(boot_id)" ]]
}

process_is_gone() { ! process_is "$1"; }
