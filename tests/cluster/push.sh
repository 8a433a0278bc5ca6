# Sourced by images.sh and bases.sh: from a folder to an image in the cluster's registry.
# shellcheck shell=bash
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
crane() { "$BIN/crane" "$@" --insecure >/dev/null 2>"$work/crane.log" || { cat "$work/crane.log" >&2; return 1; }; }
has() { "$BIN/crane" manifest --insecure "$REGISTRY/$1" >/dev/null 2>&1; }
push() { # image root-folder crane-mutate-flags...
  local image=$REGISTRY/$1 root=$2
  shift 2
  tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner -cf "$work/layer.tar" .
  crane append --platform linux/amd64 -f "$work/layer.tar" -t "$image"
  crane mutate "$image" --set-platform linux/amd64 -t "$image" "$@"
  rm -f "$work/layer.tar"
  say "image ${image#*/}"
}
wheel() { # requirement folder: a package's files, unpacked
  python3 -m pip download -q --no-deps --only-binary :all: -d "$2" "$1"
  python3 -m zipfile -e "$2"/*.whl "$2"
}
