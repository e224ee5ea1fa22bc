#!/usr/bin/env bash
# run.sh RESOLV_CONF CMD...: in a mount namespace of its own, where cluster DNS can stand in for the machine's. Every step
# replaces the one before, so that CMD has its caller's pid, stdin, signals and exit code.
resolv_conf=$1
shift
if [ -e /etc/resolv.conf ]; then
  mount --bind "$resolv_conf" /etc/resolv.conf || exit 1
else
  echo "cluster: this machine has no /etc/resolv.conf: cluster DNS names will not resolve" >&2
fi
exec "$@"
