# The binaries of a cluster, all from one Go module, kept by the hash of what they are made from.
# shellcheck shell=bash

# Prints the folder of the binaries on stdout.
command_build() {
  [ $# -eq 0 ] || die "usage: cluster build"
  command -v go >/dev/null || die "go is missing: install Go $(sed -n 's/^go //p' "$here/go/go.mod") or later"
  local folder
  folder=$CACHE/$(build_hash)
  [ -d "$folder" ] || build_into "$folder"
  echo "$folder/bin"
}

build_hash() {
  {
    go version
    cd "$here"
    sha256sum host/build.sh image.py
    find go -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c 1-16
}

build_into() {
  local folder=$1
  mkdir -p "$CACHE"
  (
    flock 8
    [ ! -d "$folder" ] || exit 0 # another caller built it while this one waited
    rm -rf "$CACHE"/partial.*
    local partial
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    chmod 755 "$partial"
    begin "building Kubernetes, etcd, CoreDNS and helm (usually 10 min on two cores, 40 s when Go's own cache is warm)"
    compile_binaries "$partial/bin"
    pack_cluster_images "$partial/bin" "$partial/images"
    forget_old_builds
    mv "$partial" "$folder"
    finish
  ) 8>"$CACHE/lock"
}

compile_binaries() {
  local output=$1 kubernetes helm minor flags
  cd "$here/go"
  export GOFLAGS='' GOWORK=off CGO_ENABLED=0
  kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  helm=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
  minor=$(cut -d . -f 2 <<<"$kubernetes")
  # Without these, the components report a placeholder version and charts see a Kubernetes 1.20.
  flags="-s -w
    -X k8s.io/component-base/version.gitVersion=$kubernetes
    -X k8s.io/component-base/version.gitMajor=1
    -X k8s.io/component-base/version.gitMinor=$minor
    -X k8s.io/component-base/version.gitTreeState=clean
    -X helm.sh/helm/v4/internal/version.version=$helm
    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1
    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor"
  # Whole builds would starve everything else on a small machine. -dwarf=false halves the compiler's output.
  nice -n 10 go build -v -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags "${flags//$'\n'/ }" -o "$output/" \
    tool ./etcd ./coredns ./pause ./probe 2>&1 | report_compiled_packages
}

# go build -v prints a line per package that it compiles; a line each half minute is enough. What is neither that nor a
# download is an error.
report_compiled_packages() {
  local line compiled=0 downloaded=0 reported=$SECONDS
  while IFS= read -r line; do
    case $line in
      'go: downloading '*) downloaded=$((downloaded + 1)) ;;
      *[!a-zA-Z0-9._/~+-]*) printf '%s\n' "$line" >&2 ;;
      *) compiled=$((compiled + 1)) ;;
    esac
    if ((SECONDS - reported >= 30)); then
      say "  so far $downloaded modules downloaded, $compiled packages compiled (a cold build has about 400 and 2600)"
      reported=$SECONDS
    fi
  done
}

# Images that every node needs before it can run any pod.
pack_cluster_images() {
  local binaries=$1 images=$2
  mkdir -p "$images"
  python3 "$here/image.py" "$images/pause.tar" carillon.dev/cluster/pause:built /pause "$binaries/pause" >/dev/null
  python3 "$here/image.py" "$images/coredns.tar" carillon.dev/cluster/coredns:built /coredns "$binaries/coredns" >/dev/null
}

# A build is about 0.6 GB: keep the two newest and whatever runs now.
forget_old_builds() {
  local folder
  while IFS= read -r folder; do
    [[ -f $STATE/binaries && $(<"$STATE/binaries") = "$folder"* ]] || rm -rf "$folder"
  done < <(find "$CACHE" -mindepth 1 -maxdepth 1 -type d ! -name 'partial.*' -printf '%T@ %p\n' | sort -rn | tail -n +2 | cut -d ' ' -f 2-)
}
