#!/usr/bin/env bash
# Faults on the real cluster: brings it up (root), installs the product on it, and strikes. `make e2e-faults` calls this.
# Takes BUILDS (50), OUTAGE (120, in seconds) and FAULTS (names, with commas between them; all).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
values=$(mktemp)
trap 'rm -f "$values"' EXIT
tests/cluster/cluster.sh up
. tests/cluster/env.sh
set -a # what the runner needs to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
set +a
[ -n "${AUDIT_LOG:-}" ] || fail "this cluster has no audit log, so nothing can be counted: kind's is none for this"
# an executor that pushes at once what Kaniko would; a sweep each minute, for a lost report waits for the next
cat >"$values" <<Y
builds: {kanikoImage: "$TINY_EXECUTOR"}
eventing: {sweep: "* * * * *"}
Y
TENANTS=demo VALUES=$values deploy/install.sh >&2
.venv/bin/python tests/e2e/faults/run.py
