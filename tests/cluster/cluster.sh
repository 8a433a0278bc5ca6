#!/usr/bin/env bash
# The test cluster, whichever way this machine can have it: kind where Docker and kind are there,
# otherwise processes straight on the machine. `make cluster` and `make cluster-down` call this.
# Either way $CLUSTER_RUN/env then says where everything is (README.md lists it).
set -euo pipefail
. "$(dirname "$0")/env.sh"

can_kind() { command -v kind >/dev/null && docker info >/dev/null 2>&1; }
is_kind() { [ -f "$CLUSTER_RUN/kind" ]; }

case ${1:-} in
  up) if is_kind || { [ ! -d "$CLUSTER_RUN/pid" ] && can_kind; }; then exec "$HERE/kind.sh" up; else exec "$HERE/up.sh"; fi ;;
  down) if is_kind; then exec "$HERE/kind.sh" down; else exec "$HERE/down.sh"; fi ;;
  smoke) exec "$HERE/smoke.sh" ;;
  *) fail "usage: ${0##*/} up | down | smoke" ;;
esac
