# What people read: progress on stderr, so that stdout carries results only.
# shellcheck shell=bash

say() { printf 'cluster: %s\n' "$*" >&2; }

die() {
  printf 'cluster: error: %s\n' "$*" >&2
  exit 1
}

# A step that takes long says so before it starts and how long it took afterwards.
begin() {
  say "$1"
  step_started=${EPOCHREALTIME/./}
}

finish() {
  local milliseconds=$(((${EPOCHREALTIME/./} - step_started) / 1000))
  say "  done in $((milliseconds / 1000)).$((milliseconds % 1000 / 100)) s"
}

# wait_until SECONDS CMD...: false when CMD has not succeeded by then.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}
