#!/usr/bin/env bash
# The main path on a real cluster: brings the cluster up (root), installs the product on it, and tells its story.
# `make e2e` calls this; arguments go to pytest, such as `-k ledger`. Takes STORIES, folders
# and files (tests/e2e), SIGNED (images bear signatures), TOKENS (each build pushes with a token of its own), and POLICIES
# (NetworkPolicies are enforced for as long as this takes; kind's network does what it does).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/cluster/cluster.sh up
. tests/cluster/env.sh
values=$(mktemp)
trap 'rm -f "$values"' EXIT
if [ -n "${POLICIES:-}" ] && [ -z "${CLUSTER_POLICIES:-}" ] && [ ! -f "$CLUSTER_RUN/kind" ]; then
  trap 'rm -f "$values"; tests/cluster/cluster.sh policies off' EXIT
  tests/cluster/cluster.sh policies on
fi
set -a # what the tests need to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
set +a
give() { # type name...: a Secret for the product
  kubectl get namespace knative-lambda >/dev/null 2>&1 || kubectl create namespace knative-lambda >/dev/null
  kubectl create secret "$@" -n knative-lambda --dry-run=client -o yaml |
    kubectl apply --server-side --force-conflicts -f - >/dev/null
}
signed='' tokens=''
if [ -n "${SIGNED:-}" ]; then # images bear signatures, and nothing runs without
  export SUPPLY_KEYS=$CLUSTER_RUN/image-keys # of the cluster, not of a run: what runs was signed with them
  if [ ! -f "$SUPPLY_KEYS/cosign.pub" ]; then
    mkdir -p "$SUPPLY_KEYS"
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$SUPPLY_KEYS/cosign.key"
    openssl pkey -in "$SUPPLY_KEYS/cosign.key" -pubout -out "$SUPPLY_KEYS/cosign.pub"
  fi
  give generic image-keys --from-file="$SUPPLY_KEYS"
  signed="supply: {sign: true, verify: own, keysSecret: image-keys}"
fi
export TENANTS="${TENANTS:-demo neighbour}" # the first one's stories are told, and what the second one sees of them
if [ -n "${TOKENS:-}" ] && [ -n "${TOKEN_REGISTRY:-}" ]; then # images go where each build has a token of its own
  give tls registry-tokens --cert="$TOKEN_KEYS/tls.crt" --key="$TOKEN_KEYS/tls.key"
  tokens="registry: {prefix: \"$TOKEN_REGISTRY\", tokens: {secret: registry-tokens}}"
fi
told=''
if [ -z "${STORIES:-}" ]; then
  # the image that clones repositories, too: one of the stories has one
  export IMAGES="knative-lambda knative-lambda-git runtime-python runtime-node runtime-go"
  # a webhook, beside the cluster, is told of all; so is the Broker, in CDEvents
  HOOK_SECRET=whsec_$(openssl rand -base64 32)
  export HOOK_SECRET HOOK_PORT=9477
  give generic webhooks --from-literal=e2e="$HOOK_SECRET"
  told="notifications: {cdevents: true, webhooks: {e2e: {url: \"http://10.99.0.1:$HOOK_PORT/\"}}, keysSecret: webhooks, giveUpSeconds: 600}"
fi
cat >"$values" <<Y
$signed
$tokens
$told
receiver: {logEffects: true, api: true} # one of the tests reads the effects, one the records
reach: {allowed: [10.99.0.1, 127.0.0.1]} # where the webhook listens, and stories have indexes, a repository; the node itself
builds: {secrets: true, mirrors: {elsewhere.test: "$REGISTRY"}} # a registry that is not there, but has a cache
people: # whom the stories of tests/e2e/security are about
$(for tenant in $TENANTS; do echo "  $tenant: {users: ['system:serviceaccount:$tenant:e2e-alice', 'system:serviceaccount:$tenant:e2e-bob']}"; done)
Y
VALUES=$values deploy/install.sh >&2
# shellcheck disable=SC2086 # several folders
.venv/bin/pytest ${STORIES:-tests/e2e} "$@"
