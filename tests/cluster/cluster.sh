#!/usr/bin/env bash
# The test cluster, whichever way this machine can have it: kind where Docker and kind are there,
# otherwise processes straight on the machine. `make cluster` and `make cluster-down` call this.
# Either way $CLUSTER_RUN/env then says where everything is (README.md lists it). `kill`, `stop` and `start` take one of
# the processes away, such as s3, registry or kube-apiserver, and bring it back with its state. `policies on` and `policies off`
# have NetworkPolicies enforced, and no longer.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$HERE/process.sh"

can_kind() { command -v kind >/dev/null && docker info >/dev/null 2>&1; }
is_kind() { [ -f "$CLUSTER_RUN/kind" ]; }
one() { # name: one of the processes, where the cluster is made of processes
  if is_kind; then fail "kind's cluster is no processes of this machine"; fi
  [ -f "$CLUSTER_RUN/command/${1:-}" ] ||
    fail "usage: ${0##*/} stop | kill | start NAME, one of: $(ls "$CLUSTER_RUN/command" 2>/dev/null | paste -sd ' ')"
}

case ${1:-} in
  up) if is_kind || { [ ! -d "$CLUSTER_RUN/pid" ] && can_kind; }; then exec "$HERE/kind.sh" up; else exec "$HERE/up.sh"; fi ;;
  down) if is_kind; then exec "$HERE/kind.sh" down; else exec "$HERE/down.sh"; fi ;;
  smoke) exec "$HERE/smoke.sh" ;;
  policies) if is_kind; then fail "kind's network is its own"; else exec "$HERE/policies.sh" "${2:-}"; fi ;;
  stop) one "${2:-}" && stop "$2" ;;
  kill) one "${2:-}" && stop "$2" KILL ;;
  start) one "${2:-}" && start_again "$2" ;;
  *) fail "usage: ${0##*/} up | down | smoke | policies on | policies off | stop NAME | kill NAME | start NAME" ;;
esac
