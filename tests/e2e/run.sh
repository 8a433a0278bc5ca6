#!/usr/bin/env bash
# The main path on a real cluster: brings the cluster up (root), installs the product on it, and tells its story.
# `make e2e` calls this; arguments go to pytest, such as `-k ledger`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tests/cluster/cluster.sh up
. tests/cluster/env.sh
set -a # what the tests need to know of the cluster
# shellcheck source=/dev/null
. "$CLUSTER_RUN/env"
set +a
TENANTS="${TENANTS:-demo}" deploy/install.sh >&2
exec .venv/bin/pytest tests/e2e "$@"
