# One command per intent, the same for a person, a pre-commit hook and CI. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TENANTS ?= demo
export PYTHONPATH := $(CURDIR)/.rooms

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: deploy/requirements/dev.txt pyproject.toml
	@echo "==> a virtual environment in $(VENV), with the locked packages"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name it with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r deploy/requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: pictures
pictures: $(VENV)/.ready ## make the pictures of docs/page.md anew, with Chromium (installed where it is missing)
	@tests/page/requirements.sh
	@PYTHONPATH=$(PYTHONPATH):tests $(BIN)/python tests/page/shots.py

.PHONY: demo
demo: $(VENV)/.ready ## the main job on this machine, without a cluster: functions built, called, replaced, removed
	@$(BIN)/python -m knative_lambda.client.demo

.PHONY: test
test: $(VENV)/.ready ## every test that needs no cluster
	@echo "==> tests"
	@$(BIN)/pytest

.PHONY: e2e
e2e: $(VENV)/.ready ## the same story on a real cluster, which this starts (as root)
	@tests/e2e/run.sh

.PHONY: e2e-security
e2e-security: $(VENV)/.ready ## what strangers get on a real cluster: hostile builds and functions, one tenant at another, forged events
	@POLICIES=1 TOKENS=1 STORIES=tests/e2e/security tests/e2e/run.sh

.PHONY: e2e-faults
e2e-faults: $(VENV)/.ready ## faults on a real cluster while events come, and a table of what was lost and what was done twice
	@tests/e2e/faults/run.sh

.PHONY: load
load: $(VENV)/.ready ## a thousand build.start events of twenty tenants in a minute on a real cluster, and what became of them
	@tests/e2e/load/run.sh

$(VENV)/.bench: deploy/requirements/bench.txt $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r deploy/requirements/bench.txt
	@touch $@

.PHONY: bench
bench: $(VENV)/.bench ## the product beside the floor, by hand and JobSink, on a real cluster: a table and pictures; RUNS=5 ONLY=speed OUT=folder
	@tests/bench/run.sh

$(VENV)/.fuzz: deploy/requirements/fuzz.txt $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r deploy/requirements/fuzz.txt
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## look for requests, archives, sources and names that break something, and keep what reaches more code: FOR=60 seconds each
	@for target in request archive recipe name; do $(BIN)/python tests/fuzz/grow.py $$target "$(or $(FOR),60)"; done

.PHONY: weigh
weigh: $(VENV)/.ready ## what the receiver weighs, how soon it is ready and how fast it takes events, on this machine
	@$(BIN)/python tests/bench/weigh.py

.PHONY: check
check: $(VENV)/.ready ## format, lint, types, architecture
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -1

.PHONY: secrets-scan
secrets-scan: $(VENV)/.ready ## look for credentials in every file that git knows
	@DETECT_SECRETS=$(BIN)/detect-secrets-hook deploy/secrets-scan.sh

$(VENV)/.audit: deploy/requirements/audit.txt $(VENV)/.ready
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --no-deps --require-hashes -r deploy/requirements/audit.txt
	@touch $@

.PHONY: vulnerabilities
vulnerabilities: $(VENV)/.ready $(if $(ADVISORIES),,$(VENV)/.audit) ## ask the public database about every locked package, or a copy of OSV's that is here: ADVISORIES=all.zip
ifdef ADVISORIES
	@$(BIN)/python deploy/vulnerabilities.py deploy/requirements/service.txt "$(ADVISORIES)"
else
	@$(VENV)/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r deploy/requirements/service.txt || \
	  { echo "Packages are vulnerable, or could not be looked up. Without a way to the database: make vulnerabilities ADVISORIES=all.zip, OSV's of PyPI" >&2; exit 1; }
endif

.PHONY: format
format: $(VENV)/.ready ## put every file into the one format
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

.PHONY: lock
lock: ## choose the newest versions that fit, and lock them with hashes (needs uv)
	@uv pip compile -q pyproject.toml --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -o deploy/requirements/service.txt
	@uv pip compile -q pyproject.toml --upgrade --group dev --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -c deploy/requirements/service.txt -o deploy/requirements/dev.txt
	@uv pip compile -q --group pyproject.toml:bench --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -c deploy/requirements/service.txt -c deploy/requirements/dev.txt -o deploy/requirements/bench.txt
	@uv pip compile -q --group pyproject.toml:audit --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -o deploy/requirements/audit.txt
	@uv pip compile -q --group pyproject.toml:fuzz --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 -o deploy/requirements/fuzz.txt

.PHONY: cluster
cluster: ## start the test cluster (Knative on this machine as root, or kind where Docker is)
	@tests/cluster/cluster.sh up

.PHONY: cluster-down
cluster-down: ## stop the test cluster and throw its state away
	@tests/cluster/cluster.sh down

.PHONY: crds
crds: $(VENV)/.ready ## write the chart's custom resources and event types anew from schemas/
	@$(BIN)/python -m knative_lambda.deploy.crds

.PHONY: dashboards
dashboards: $(VENV)/.ready ## write the chart's dashboards anew from deploy/dashboards.py
	@$(BIN)/python -m knative_lambda.deploy.dashboards

.PHONY: deploy
deploy: ## install or upgrade on the current kubeconfig: make deploy TENANTS="demo acme"
	@TENANTS="$(TENANTS)" deploy/install.sh
