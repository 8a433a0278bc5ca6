#!/usr/bin/env bash
# A thousand build.start events on the real cluster: brings it up (root), installs the product for twenty tenants with an
# executor that only pushes, sends, tells, and takes the tenants away again. `make load` calls this.
# Takes LOAD_STARTS (1000), LOAD_TENANTS (20), LOAD_SECONDS (60) and LOAD_LIMIT (seconds until all must be built, 5400).
#
# A thousand Pods do not fit the machine, so that functions start at zero: Knative's `initial-scale` is 0 for the length of
# the run. Services, Routes and Revisions are made as ever; only the first Pod of each is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
values=$(mktemp)
tests/cluster/cluster.sh up
. tests/cluster/env.sh
set -a # what the runner needs to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
AT_ONCE=10
TENANTS=$(seq -f 'load-%02g' -s ' ' "${LOAD_TENANTS:-20}")
LOAD_SERVICES="made, at zero Pods (initial-scale 0)"
set +a
[ -n "${AUDIT_LOG:-}" ] || fail "this cluster has no audit log, so nothing can be counted: kind's is none for this"

initial_scale() { # 0 or 1
  kubectl patch configmap config-autoscaler -n knative-serving --type merge \
    -p "{\"data\": {\"allow-zero-initial-scale\": \"true\", \"initial-scale\": \"$1\"}}" >/dev/null
}
clean() {
  say "taking the tenants away"
  initial_scale 1
  TENANTS=demo VALUES=$values deploy/install.sh >/dev/null 2>&1 || say "the product could not be installed again"
  for tenant in $TENANTS; do
    kubectl delete namespace "$tenant" "$tenant-builds" --ignore-not-found --wait=false >/dev/null
  done
  for tenant in $TENANTS; do
    kubectl wait --for=delete "namespace/$tenant" "namespace/$tenant-builds" --timeout=900s >/dev/null 2>&1 || true
    rm -rf "$CLUSTER_CACHE/registry/docker/registry/v2/repositories/$tenant" # tags of images that nothing names any more
  done
  rm -f "$values"
}
trap clean EXIT
cat >"$values" <<Y
builds: {kanikoImage: "$TINY_EXECUTOR", atOnce: {perTenant: 5, inAll: $AT_ONCE}}
keepTenants: false
Y
initial_scale 0
VALUES=$values deploy/install.sh >&2
.venv/bin/python tests/e2e/load/run.py
