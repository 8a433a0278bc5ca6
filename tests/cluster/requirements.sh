#!/usr/bin/env bash
# What the machine must be, and the Debian packages that it may lack. up.sh calls this first; it
# installs what is missing and says what it can't do anything about.
set -euo pipefail
. "$(dirname "$0")/env.sh"

[ "$(id -u)" = 0 ] || fail "The test cluster runs containers and needs root: run this as root (sudo), or install Docker and kind."
# shellcheck source=/dev/null
codename=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_CODENAME:-}") || true
[ "$codename" = "debian bookworm" ] ||
  fail "The test cluster needs Debian 12 (bookworm), this is ${codename:-unknown}: install Docker and kind instead."
command -v go >/dev/null || fail "Go 1.25 or later is needed to build the cluster, and there is no 'go' on PATH: see https://go.dev/dl"
goversion=$(cd / && go env GOVERSION)
[ "$(printf '%s\n' go1.25 "$goversion" | sort -V | head -1)" = go1.25 ] ||
  fail "Go 1.25 or later is needed to build the cluster, this is $goversion: see https://go.dev/dl"

mkdir -p "$CLUSTER_CACHE" "$CLUSTER_RUN"
if [ -x "$BIN/kn" ]; then need=3; else need=16; fi # the first time with Go's module and build caches
for folder in "$CLUSTER_CACHE" "$CLUSTER_RUN"; do
  free=$(df -BG --output=avail "$folder" | tail -1 | tr -dc 0-9)
  [ "$free" -ge "$need" ] || fail "The cluster needs $need GB free in $folder, there are $free."
done

packages=(ca-certificates conntrack containerd containernetworking-plugins curl debootstrap docker-registry
  etcd-server iproute2 ipset iptables openssl procps prometheus runc)
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0

say "installing ${missing[*]}"
log=$(mktemp)
# RUNLEVEL=1: the packages' own services must not start, the cluster has its own
install() { RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
install || { say "refreshing apt's lists"; apt-get update -qq >>"$log" 2>&1 && install; } || {
  tail -5 "$log" >&2
  fail "These Debian packages are needed and could not be installed: ${missing[*]}"
}
rm -f "$log"
if [ -d /run/systemd/system ]; then # nor after the next boot, on the cluster's ports
  for service in etcd docker-registry prometheus; do
    case " ${missing[*]} " in *" $service"*) systemctl disable --now -q "$service" || true ;; esac
  done
fi
