# What the operating system has to provide.
# shellcheck shell=bash

# package:command. By command rather than by package name, so that another vendor's build of the same thing is left alone.
readonly PACKAGES=(
  runc:runc containerd:containerd containernetworking-plugins:/usr/lib/cni/ptp
  nftables:nft iptables:iptables conntrack:conntrack kmod:modprobe socat:socat ipset:ipset
  iproute2:ip util-linux:nsenter openssl:openssl jq:jq curl:curl python3-minimal:python3
)

install_packages() {
  local entry missing=()
  for entry in "${PACKAGES[@]}"; do
    command -v "${entry#*:}" >/dev/null || missing+=("${entry%%:*}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "these are missing, and there is no apt-get to install them with: ${missing[*]}"
  begin "installing Debian packages: ${missing[*]} (usually 30 s)"
  {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
  } >&2
  finish
}

require_root() { [ "$(id -u)" -eq 0 ] || die "this needs root: it makes namespaces, mounts and cgroups"; }
