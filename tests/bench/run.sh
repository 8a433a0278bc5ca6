#!/usr/bin/env bash
# Everything side by side on the real cluster: brings it up (root), installs the product for a tenant of its own with slots
# enough, measures, tells, and takes all of it away again. `make bench` calls this.
# Takes RUNS (5), ONLY (beginnings of rows or groups, with commas), OUT (a folder), FUNC (path of Knative's func).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export OUT=${OUT:-.knative-lambda/bench}
values=$(mktemp)
tests/cluster/cluster.sh up
. tests/cluster/env.sh
grace() { kubectl get configmap config-autoscaler -n knative-serving -o jsonpath='{.data.scale-to-zero-grace-period}'; }
has_jobsink() { kubectl get deployment job-sink -n knative-eventing >/dev/null 2>&1; }
grace=$(grace)
has_jobsink && jobsink=theirs || jobsink=
before=$(helm get values knative-lambda -n knative-lambda -o json 2>/dev/null | python3 -c 'import json, sys; print(*json.load(sys.stdin)["tenants"])' 2>/dev/null || echo demo)
before=$(tr ' ' '\n' <<<"$before" | grep -vx bench | paste -sd' ') # a run that was cut off has left it
set -a # what the runner needs to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
set +a

clean() { # the runner takes away what it makes; this is for one that was killed, too
  trap '' TERM INT
  say "taking everything away"
  kubectl delete ksvc --all -n bench --ignore-not-found --wait=false >/dev/null 2>&1 || true
  kubectl scale deployment controller -n knative-serving --replicas=1 >/dev/null || true
  [ "$(grace)" = "$grace" ] || kubectl patch configmap config-autoscaler -n knative-serving --type=json \
    -p '[{"op": "remove", "path": "/data/scale-to-zero-grace-period"}]' >/dev/null || true
  [ -n "$jobsink" ] || kubectl delete deployment,service job-sink -n knative-eventing --ignore-not-found >/dev/null || true
  TENANTS=${before:-demo} deploy/install.sh >/dev/null 2>&1 || say "the product could not be installed again"
  kubectl delete namespace bench bench-builds bench-hand --ignore-not-found --wait=false >/dev/null
  for namespace in bench bench-builds bench-hand; do
    kubectl wait --for=delete "namespace/$namespace" --timeout=300s >/dev/null 2>&1 || say "$namespace is still there"
  done
  rm -rf "$CLUSTER_CACHE"/registry/docker/registry/v2/repositories/bench # tags of images that nothing names any more
  rm -f "$values"
}
runner=
stop() {
  [ -z "$runner" ] || kill -TERM "$runner" 2>/dev/null || true
  [ -z "$runner" ] || wait "$runner" || true
  exit 143
}
trap clean EXIT
trap stop TERM INT
cat >"$values" <<Y
builds: {atOnce: {perTenant: 1000, inAll: 1000}}
keepTenants: false
Y
TENANTS="${before:-demo} bench" VALUES=$values deploy/install.sh >&2
kubectl create namespace bench-hand --dry-run=client -o yaml | kubectl apply -f - >/dev/null
set -a
# shellcheck source=/dev/null
. .knative-lambda/images.env
set +a
PYTHONPATH=.rooms:tests .venv/bin/python -m bench.run &
runner=$!
wait "$runner"
