# The commands of the repository. `make` alone lists them. Everything runs in .venv, which `make setup` prepares.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
UV_VERSION := 0.13.8
PYTHON ?= $(shell command -v python3.11 || command -v python3 || true)
PYTEST_ARGS ?=
# Files of tests run in so many processes; 0: one test after the other in this one, which a debugger needs.
TEST_WORKERS ?= 2
export VIRTUAL_ENV := $(abspath $(VENV))
# What the platform's image has besides the requirements, and what Feast's SQLAlchemy extra brings for type checkers.
IMAGE_EXTRAS := flights k8s kafka lightgbm otel postgres ray redis s3
NOT_IN_IMAGES := ast-serialize librt mypy types-greenlet
# `make check TESTS=no` leaves the tests out, for a caller that has run them.
TESTS ?= yes

.PHONY: help setup demo test check lint format types imports definitions docs ui screenshots lock envfile images sbom security secrets manifests kubectl clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## prepare .venv with the locked dependencies; at once when nothing changed

# One process at a time: a second `make` waits for the lock, then finds the stamp newer than its inputs.
$(STAMP): requirements.lock setup.cfg
	@[ -n "$(PYTHON)" ] || { echo "setup: no python3.11 or python3 on PATH; install Python 3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { \
		echo "setup: $(PYTHON) is $$("$(PYTHON)" -V 2>&1), expected Python 3.11 or 3.12;" \
			"install it, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@mkdir -p $(VENV)
	@if command -v flock >/dev/null; then exec 9>$(VENV)/.setup-lock; flock 9; fi; \
	if [ $@ -nt requirements.lock ] && [ $@ -nt setup.cfg ]; then exit 0; fi; \
	if [ ! -x $(BIN)/python ]; then \
		echo "setup 1/4: virtual environment in $(VENV) ($$("$(PYTHON)" -V))"; "$(PYTHON)" -m venv $(VENV); \
	else echo "setup 1/4: virtual environment in $(VENV) is there"; fi; \
	echo "setup 2/4: uv $(UV_VERSION)"; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check "uv==$(UV_VERSION)"; \
	echo "setup 3/4: $$(grep -c '==' requirements.lock) locked packages"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirements requirements.lock; \
	echo "setup 4/4: shadow-platform itself, editable"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	touch $@; echo "setup: ready, the command is $(BIN)/shadow"

demo: setup ## play the whole loop on recorded flights
	@$(BIN)/shadow demo --use-case flights

test: setup ## run every test: TEST_WORKERS=0 PYTEST_ARGS=...
	@$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint types imports definitions ## format, lint, types, import rules, definitions, tests
	@if [ "$(TESTS)" = yes ]; then $(MAKE) --no-print-directory test; fi

lint: setup ## format check and lint
	@echo "check: ruff format"; $(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@echo "check: ruff lint"; $(BIN)/ruff check --quiet .

format: setup ## format and repair what can be repaired
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

types: setup ## strict types
	@echo "check: mypy"; $(BIN)/mypy

imports: setup ## who may import whom
	@echo "check: import rules"; $(BIN)/lint-imports --no-logo

definitions: setup ## whether Dagster can load everything
	@echo "check: dagster definitions"; $(BIN)/dg check defs --use-active-venv

docs: setup ## build the documentation into site/
	@$(BIN)/mkdocs build --strict

ui: setup ## open the Dagster UI on what the demo left
	@$(BIN)/shadow ui

screenshots: setup ## take the README's pictures from what the demo left (needs Chromium)
	@$(BIN)/python -m docs.make_screenshots

lock: setup ## resolve requirements.lock anew from setup.cfg
	@$(BIN)/uv pip compile setup.cfg --extra dev --extra docs --extra flights --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --quiet --output-file requirements.lock
	@$(BIN)/uv pip compile setup.cfg $(IMAGE_EXTRAS:%=--extra %) $(NOT_IN_IMAGES:%=--no-emit-package %) \
		--constraint requirements.lock --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
		--output-file deploy/docker/requirements-platform.lock

envfile: setup ## write .env.example and docs/configuration.md from the settings
	@$(BIN)/python -m shadow_platform_tests.env_example

images: setup ## build the container images: PYTHON_DIGEST=sha256:... BENTO=<tag or folder> (docs/containers.md)
	@deploy/docker/build.sh

sbom: setup ## write what each image holds as CycloneDX JSON into build/sbom/
	@BIN=$(BIN) deploy/docker/sbom.sh

# The search writes its baseline anew, and ends with 3, when lines have moved: it gets a copy, and 3 is no new secret.
security: setup ## look for secrets in the repository, and for known faults of the locked packages (asks the package index)
	@echo "security: secrets"
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; cp .secrets.baseline "$$copy"; \
	git ls-files -z --cached --others --exclude-standard \
		| xargs -0 bash -c 'said=$$("$$@") || [ $$? = 3 ] || { echo "$$said"; exit 1; }' search \
			$(BIN)/detect-secrets-hook --no-verify --baseline "$$copy/.secrets.baseline"
	@echo "security: locked packages"; $(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements.lock

secrets: setup ## note what the search for secrets finds, once a person has seen that none of it is one
	@git ls-files -z --cached --others --exclude-standard | xargs -0 $(BIN)/detect-secrets scan --no-verify \
		--exclude-files '(\.lock|\.secrets\.baseline)$$' >.secrets.baseline.new
	@mv .secrets.baseline.new .secrets.baseline; git diff --stat -- .secrets.baseline

manifests: setup ## write the operator's Prometheus rules: RUNBOOK_URL=where docs/operations.md is published
	@RUNBOOK_URL='$(RUNBOOK_URL)' $(BIN)/python -m shadow_platform_tests.deploy.manifests

kubectl: setup ## put kubectl into .venv/bin unless there is one on PATH
	@command -v kubectl >/dev/null || [ -x $(BIN)/kubectl ] || deploy/k8s/install-kubectl $(BIN)/python

clean: ## remove what builds and tests leave; .venv and data stay
	@rm -rf build dist site shadow_platform.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
