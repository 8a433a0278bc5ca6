#!/usr/bin/env bash
# Installs or upgrades the product on the current kubeconfig. `make deploy TENANTS="demo acme"` calls this.
#
# On the project's test cluster everything is known, and the images are built first. Elsewhere it takes
#   IMAGE      the product's image          PYTHON_RUNTIME NODE_RUNTIME GO_RUNTIME   the runtimes' base images
#   REGISTRY   host[/path] to push to       REGISTRY_INSECURE             true for plain HTTP
#   STORE_URL  s3://bucket[/prefix]         S3_ENDPOINT S3_ACCESS_KEY S3_SECRET_KEY   (optional)
#   KANIKO_IMAGE, GIT_IMAGE, VALUES (a file of more values for the chart)   (optional)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TENANTS=${TENANTS:-demo}
NAMESPACE=${NAMESPACE:-knative-lambda}
chart=deploy/charts/knative-lambda
release=knative-lambda

is_test_cluster() { # the current kubeconfig is the one that the test cluster's scripts wrote
  local current=${KUBECONFIG:-}
  [ -n "$current" ] && [ "$(. tests/cluster/env.sh && echo "$KUBECONFIG")" = "$current" ]
}

values=(-f "$chart/values.yaml")
if is_test_cluster; then
  set -a # images.sh is a process of its own
  . tests/cluster/env.sh
  set +a
  STORE_URL=${STORE_URL:-s3://knative-lambda}
  REGISTRY_INSECURE=true
  values+=(-f "$chart/values-dev.yaml")
fi
say() { printf '==> %s\n' "$*" >&2; }
fail() {
  printf '%s\n' "$@" >&2
  exit 1
}
s3() { # the key stays off the command line, where every process of the machine could read it
  curl -sS -o /dev/null --config <(printf 'user = "%s:%s"\n' "$S3_ACCESS_KEY" "${S3_SECRET_KEY:-}") \
    --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}
for tool in kubectl helm curl; do command -v $tool >/dev/null || fail "$tool is not on PATH"; done
kubectl get --raw /readyz >/dev/null || fail "the cluster of the current kubeconfig does not answer; 'make cluster' starts a test cluster"
for crd in services.serving.knative.dev brokers.eventing.knative.dev apiserversources.sources.knative.dev; do
  kubectl get crd $crd >/dev/null 2>&1 || fail "the cluster has no $crd: install Knative Serving and Eventing first"
done

if is_test_cluster && [ -z "${IMAGE:-}" ]; then
  say "images"
  IMAGES_FILE=.knative-lambda/images.env deploy/images.sh >/dev/null
  # shellcheck source=/dev/null
  . .knative-lambda/images.env
fi
for name in IMAGE REGISTRY STORE_URL; do
  [ -n "${!name:-}" ] || fail "$name is not set; deploy/install.sh says what this needs on a cluster that is not the test cluster"
done

say "namespace $NAMESPACE"
kubectl apply --server-side --force-conflicts -f - >/dev/null <<Y
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels: {pod-security.kubernetes.io/enforce: restricted}
Y
secret=
if [ -n "${S3_ACCESS_KEY:-}" ]; then
  secret=knative-lambda-store
  kubectl apply --server-side --force-conflicts -f - >/dev/null <<Y
apiVersion: v1
kind: Secret
metadata: {name: $secret, namespace: $NAMESPACE}
data:
  access-key: $(printf %s "$S3_ACCESS_KEY" | base64 -w0)
  secret-key: $(printf %s "${S3_SECRET_KEY:-}" | base64 -w0)
Y
  if [ -n "${S3_ENDPOINT:-}" ]; then
    bucket=${STORE_URL#*://} bucket=${bucket%%/*}
    s3 -X PUT "$S3_ENDPOINT/$bucket" || fail "the store at $S3_ENDPOINT does not answer"
    s3 --fail -I "$S3_ENDPOINT/$bucket" || fail "the bucket $bucket at $S3_ENDPOINT is not open to this key"
  fi
fi

# Custom resources that were there before, applied by hand or left by a release that is gone, become this release's.
for crd in $(kubectl get crd -o name | grep '\.knative-lambda\.dev$' || true); do
  read -r name namespace < <(kubectl get "$crd" -o jsonpath='{.metadata.annotations.meta\.helm\.sh/release-name} {.metadata.annotations.meta\.helm\.sh/release-namespace}') || true
  [ "$name/$namespace" != "$release/$NAMESPACE" ] || continue
  [ -z "$namespace" ] || ! helm status "$name" -n "$namespace" >/dev/null 2>&1 ||
    fail "$crd belongs to the release $name in $namespace: a cluster holds one knative-lambda"
  kubectl annotate --overwrite "$crd" meta.helm.sh/release-name=$release meta.helm.sh/release-namespace="$NAMESPACE" >/dev/null
  kubectl label --overwrite "$crd" app.kubernetes.io/managed-by=Helm >/dev/null
done
# Helm refuses to go on after a run that was killed in its middle; what it had made is adopted by the next.
kubectl delete secret -n "$NAMESPACE" -l "owner=helm,name=$release,status in (pending-install,pending-upgrade,pending-rollback)" >/dev/null

say "chart, with the tenants $TENANTS"
more=$(mktemp)
trap 'rm -f "$more"' EXIT
cat >"$more" <<Y
tenants: [${TENANTS// /, }]
image: "$IMAGE"
store: {url: "$STORE_URL", endpoint: "${S3_ENDPOINT:-}", credentialsSecret: "$secret"}
registry: {prefix: "$REGISTRY", insecure: ${REGISTRY_INSECURE:-false}}
runtimes: {python: "${PYTHON_RUNTIME:-}", node: "${NODE_RUNTIME:-}", go: "${GO_RUNTIME:-}"}
Y
[ -z "${KANIKO_IMAGE:-}${GIT_IMAGE:-}" ] || {
  echo "builds:"
  [ -z "${KANIKO_IMAGE:-}" ] || echo "  kanikoImage: \"$KANIKO_IMAGE\""
  [ -z "${GIT_IMAGE:-}" ] || echo "  git: {image: \"$GIT_IMAGE\"}"
} >>"$more"
values+=(-f "$more")
[ -z "${VALUES:-}" ] || values+=(-f "$VALUES")
helm upgrade --install $release $chart -n "$NAMESPACE" "${values[@]}" >/dev/null || fail "" "Helm could not install the chart: see above"

unready() { # what of the product's own is not ready, and why
  kubectl get ksvc,broker,trigger,apiserversource,pingsource -n "$NAMESPACE" -l app.kubernetes.io/instance=$release -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.metadata.generation}/{.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}' |
    awk '{split($3, seen, "/")} $2 != "True" || seen[1] != seen[2]'
}
crashed() { # the service's container that ends again and again
  kubectl get pods -n "$NAMESPACE" -l serving.knative.dev/service -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[?(@.state.waiting.reason=="CrashLoopBackOff")].name}{"\n"}{end}' |
    awk 'NF == 2 {print; exit}'
}
for second in $(seq 0 180); do
  waiting=$(unready)
  [ -n "$waiting" ] || break
  if read -r pod container < <(crashed); then
    kubectl logs -n "$NAMESPACE" "$pod" -c "$container" --tail=20 >&2
    fail "" "the container $container does not stay up: see above"
  fi
  [ $((second % 10)) != 5 ] || say "waiting for $(cut -d/ -f1 <<<"$waiting" | sort | uniq -c | awk '{print $1, $2}' | paste -sd, | sed 's/,/, /g')"
  sleep 1
done
[ -z "$waiting" ] || fail "$waiting" "" "not ready after 3 minutes; kubectl describe says more"
say "ready"
helm get notes $release -n "$NAMESPACE" | tail -n +3
