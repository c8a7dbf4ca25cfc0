# The same commands for people and CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The first Python that really runs, fits pyproject.toml and can make environments; a name on the PATH may be a shim that fails.
PYTHON ?= $(shell for one in python3.13 python3.12 python3.11 python3; do \
	$$one -c 'import ensurepip, sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo $$one && break; done)
BIN := .venv/bin
# Twice quiet: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INSTALLED := .venv/.installed
# The tests of a file stay in one process: they share what they start.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile
COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# Nothing is sent anywhere; the program sets the same for itself.
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help install demo clean-demo test nightly unit lint format lock up down logs backup restore smoke bench-serving bench-scoring \
	bench-loop reference pictures docs clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with the exact packages of requirements.lock; does nothing when it is up to date.

# --no-deps, because the lock is complete, and because pip refuses hashes where a dependency asks for an extra of a pinned package;
# `pip check` then proves that nothing is missing.
$(INSTALLED): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "wanted Python 3.11 to 3.13 with venv, found none: install one, or name it: make install PYTHON=/path/to/python" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@echo "installing requirements.lock into .venv (some minutes the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --no-deps -e .
	@$(BIN)/python -m pip check
	@touch $@

demo: install ## Play seven months of a subscription business and watch the loop turn.
	@$(BIN)/closedloop demo

clean-demo: install ## Forget what the demo made.
	@$(BIN)/closedloop demo --forget

test: lint ## All that CI runs for a change: lint, types and every test but the nightly ones.
	$(BIN)/pytest $(PARALLEL)

nightly: install ## The long tests, too long for each change.
	$(BIN)/pytest -m nightly

unit: install ## The tests that need no server and end within a minute: the decisions, the units, the rules of the house.
	$(BIN)/pytest $(PARALLEL) -m "not (slow or nightly or stack)" tests/spec tests/properties tests/unit tests/house

lint: install ## Ruff, mypy and who may import whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Let Ruff format and mend what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not after `install`: with another pyproject.toml that would miss what the new lock is about to bring.
lock: ## Write the locks anew from pyproject.toml; with UPGRADE=--upgrade take newer versions.
	@[ -x .venv/lock/bin/python ] || $(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/python -m pip --disable-pip-version-check -qq install uv
	$(COMPILE) --extra dev $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file stack/loop.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file stack/api.lock --group pyproject.toml:api

# What an image says it was built from.
BUILT_FROM := REVISION=$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

up: ## Build and start the Compose stack, wait until every part is healthy, and say where everything is.
	@sh stack/make-env.sh .env
	@$(BUILT_FROM) docker compose up --build --detach --wait --wait-timeout 600
	@sh stack/say-where.sh

down: ## Stop the Compose stack; what it keeps stays in its volumes.
	@docker compose --profile '*' down

logs: ## Print what the containers of the stack have said.
	@docker compose --profile '*' logs --no-color --timestamps

backup: ## Save the running stack into backups/TIME, or TO=folder; WITH_WINDOWS=1 takes the windows along.
	@sh stack/backup.sh $(if $(TO),"$(TO)")

restore: ## Put the backup FROM=folder into this stack, which is down; FORCE=1 replaces what it holds.
	@[ -n "$(FROM)" ] || sh stack/restore.sh
	@sh stack/make-env.sh .env
	@$(BUILT_FROM) docker compose build --quiet
	@sh stack/restore.sh "$(FROM)"

smoke: install ## Drive the loop through the running stack as people and programs do; var/smoke keeps what was seen.
	$(BIN)/pytest -m stack tests/stack/test_smoke.py

bench-serving: install ## Measure the API beside MLflow's server and the usual code; quickly: ARGS="--seconds 1 --repetitions 1 --keep-docs".
	@$(BIN)/python -m tests.bench.serving $(ARGS)

bench-scoring: install ## Measure the gate's statistics: time, false alarms, slices (docs/decisions.md); quickly: ARGS="--comparisons 400".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.scoring $(ARGS)

bench-loop: install ## Replay real streams under every policy; CLOSEDLOOP_STREAMS names their folder, quickly: ARGS="--only elec2".
	@$(BIN)/python -m tests.bench.loop $(ARGS)

reference: install ## Write the reference pages of docs/ anew from the code.
	@$(BIN)/python -m docs.make_reference

pictures: install ## Draw the pictures of README.md from what make demo left; needs Chromium.
	@$(BIN)/python -m docs.make_pictures

# The variable silences a notice about the next generation of mkdocs.
docs: install ## Build the documentation into site/, and check its links.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built site/index.html"

clean: ## Remove the environment and all caches; var/ (your models and journal) stays.
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
