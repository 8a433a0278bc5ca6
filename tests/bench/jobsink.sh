#!/usr/bin/env bash
# Installs the server of Knative's JobSink on the test cluster, which leaves it out: builds it from the same modules, and
# applies Knative's own manifest with that image. `make bench` calls this, and takes it away again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../cluster/env.sh"
. "$HERE/push.sh"
export CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false"

stamp=$CLUSTER_CACHE/images/jobsink
sum=$(find "$HERE/knative" -maxdepth 1 -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)
if ! has jobsink || [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]; then
  say "building JobSink (about a minute)"
  mkdir -p "$work/root/etc/ssl/certs" "$work/root/tmp"
  cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
  (cd "$HERE/knative" && go build -trimpath -ldflags "-s -w" -o "$work/root/app" knative.dev/eventing/cmd/jobsink)
  push jobsink "$work/root" --entrypoint /app --user 65532
  echo "$sum" >"$stamp"
fi
manifest=$(go env GOMODCACHE)/$EVENTING/config/core/deployments/job-sink.yaml
[ -f "$manifest" ] || (cd "$HERE/knative" && go mod download "${EVENTING%@*}")
sed "s#ko://knative.dev/eventing/cmd/jobsink#$REGISTRY/jobsink#" "$manifest" | kubectl apply --server-side --force-conflicts -f - >/dev/null
kubectl wait -n knative-eventing --for=condition=Available deployment/job-sink --timeout=120s >/dev/null
