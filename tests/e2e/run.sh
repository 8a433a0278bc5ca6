#!/usr/bin/env bash
# The main path on a real cluster: brings the cluster up (root), installs the product on it, and tells its story.
# `make e2e` calls this; arguments go to pytest, such as `-k ledger`. Takes STORIES, folders and files (tests/e2e).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/cluster/cluster.sh up
. tests/cluster/env.sh
set -a # what the tests need to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
set +a
values=$(mktemp)
trap 'rm -f "$values"' EXIT
cat >"$values" <<Y
receiver: {logEffects: true} # one of the tests reads them
builds: {mirrors: {elsewhere.test: "$REGISTRY"}} # a registry that is not there, but has a cache
Y
export TENANTS="${TENANTS:-demo neighbour}" # the first one's stories are told, and what the second one sees of them
VALUES=$values deploy/install.sh >&2
# shellcheck disable=SC2086 # several folders
.venv/bin/pytest ${STORIES:-tests/e2e} "$@"
