# Everything a person does with this repository. `make` alone lists it.
#
# Variables: PYTHON (a Python 3.11 or 3.12), DETACH=1 (up), FORCE=1 (reset), TESTS (test, prove), JOBS (test), BENCHMARKS (prove), and
# UP_STATE_DIR, UP_VENV, UP_TRITON_ENV, UP_HOST, UP_HTTP_PORT, UP_GRPC_PORT, UP_METRICS_PORT, UP_WEB_PORT,
# UP_TRITON_HTTP_PORT, UP_TRITON_GRPC_PORT, UP_TRITON_METRICS_PORT: where the embedded stack lives and listens.
# An environment named by UP_VENV or UP_TRITON_ENV is used as it is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := $(or $(UP_VENV),$(CURDIR)/.venv)
PY := $(VENV)/bin/python
STACK := $(PY) -m deploy.embedded
# Looked up only by the recipes that make environments; a PYTHON that was asked for replaces another one.
ENVIRONMENTS = python=$$(PYTHON='$(PYTHON)' deploy/embedded/find-python); \
	$$python -m deploy.embedded.environments $(if $(PYTHON),--exact-python)
TESTS ?= tests
BENCHMARKS ?= spine publish
JOBS ?= 2
# Django's settings need secrets; these are thrown away with their folder.
WITH_SETTINGS = export CONTROLPLANE_STATE_DIR=$$(mktemp -d); trap 'rm -rf "$$CONTROLPLANE_STATE_DIR"' EXIT; \
	$(PY) -m controlplane.secret_files "$$CONTROLPLANE_STATE_DIR/secrets" >/dev/null;

.PHONY: help
help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## start everything on this machine, with a demo (DETACH=1: return when healthy)
	@python=$$(PYTHON='$(PYTHON)' deploy/embedded/find-python); $$python -m deploy.embedded preflight
	@$(ENVIRONMENTS) embedded triton
	@$(STACK) up $(if $(DETACH),--detach)

.PHONY: down status logs reset
down: ## stop everything, also after a crash
	@$(if $(wildcard $(PY)),$(STACK) down,echo "The stack is not running.")

status: ## show the processes of the stack
	@$(if $(wildcard $(PY)),$(STACK) status || test $$? = 3,echo "The stack is not running.")

logs: ## follow the log of the stack
	@$(if $(wildcard $(PY)),$(STACK) logs,echo "There is no log yet.")

reset: ## remove the state of the stack: database, keys, models (FORCE=1: without asking)
	@$(if $(wildcard $(PY)),$(STACK) reset $(if $(FORCE),--force),echo "There is nothing to remove.")

.PHONY: venv triton-env
venv: ## make the environment of the developers and tests in .venv
	@$(ENVIRONMENTS) dev

triton-env: ## make Triton's own environment in var/triton-env
	@$(ENVIRONMENTS) triton

.PHONY: test prove
test: venv triton-env ## run the tests (minutes)
	$(PY) -m pytest -m "not slow and not gpu" -n $(JOBS) --dist loadfile $(TESTS)

prove: venv triton-env ## run every test, the long ones too, and write all figures to docs/benchmarks.md
	$(PY) -m pytest -m "not gpu" $(TESTS)
	for benchmark in $(BENCHMARKS); do $(PY) -m tests.benchmarks.$$benchmark; done

.PHONY: check
check: venv ## look at the code: style, types, layers, migrations, API schema
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports
	@$(WITH_SETTINGS) set -x; \
	$(PY) -m mypy controlplane model_repository_tools deploy tests; \
	$(PY) manage.py check --fail-level WARNING; \
	$(PY) manage.py makemigrations --check --dry-run; \
	$(PY) manage.py spectacular --fail-on-warn --validate --file "$$CONTROLPLANE_STATE_DIR/openapi.yaml"; \
	diff -u docs/openapi.yaml "$$CONTROLPLANE_STATE_DIR/openapi.yaml" || { echo "error: run 'make openapi'" >&2; exit 1; }

.PHONY: format openapi lock
format: venv ## format the code and repair what can be repaired
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

openapi: venv ## write docs/openapi.yaml from the code
	@$(WITH_SETTINGS) $(PY) manage.py spectacular --fail-on-warn --validate --file docs/openapi.yaml

lock: venv ## resolve the requirements anew
	requirements/compile
