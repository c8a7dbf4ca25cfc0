# The same commands for people and CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The first Python that runs, fits pyproject.toml and can create environments; a name on the PATH may be a broken shim.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import ensurepip, sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo $$name && break; done)
BIN := .venv/bin
# Twice quiet: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INSTALLED := .venv/.installed
# The tests of a file stay in one process: they share what they start. In the order of the folders the long ones come first, so no process
# waits at the end for another's.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# No telemetry; the program sets the same for itself.
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help install demo clean-demo test nightly unit lint format lock up down logs backup restore smoke sbom pin-images bench-serving \
	bench-reading bench-scoring bench-rare bench-explaining bench-loop bench-made bench-probation bench-references bench-scale reference pictures recording notebook docs clean

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv from requirements.lock; does nothing when it is up to date.

# First pip itself, and setuptools, which builds this project. --no-deps, because the lock is complete and pip refuses hashes where a dependency asks for an extra of a pinned package;
# `pip check` then proves that nothing is missing.
$(INSTALLED): requirements.lock stack/build.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "wanted Python 3.11 to 3.13 with venv, found none: install it, or run: make install PYTHON=/path/to/python" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "creating .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@echo "installing requirements.lock into .venv (takes minutes the first time)"
	@$(PIP) install --no-deps --require-hashes -r stack/build.lock
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch $@

demo: install ## Run the loop on seven months of a subscription business.
	@$(BIN)/closedloop demo

clean-demo: install ## Delete what the demo created.
	@$(BIN)/closedloop demo --forget

test: lint ## Run all that CI runs for a change: lint, types and every test except the nightly ones.
	$(BIN)/pytest $(PARALLEL)

nightly: install ## Run the tests that take too long for every change.
	$(BIN)/pytest -m nightly

unit: install ## Run the fast tests, without servers: decisions, units, house rules.
	$(BIN)/pytest $(PARALLEL) -m "not (slow or nightly or stack)" tests/spec tests/properties tests/unit tests/house

lint: install ## Run ruff, mypy and import-linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code and fix what ruff can fix.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not after `install`, which would fail with a pyproject.toml that the lock does not fit yet.
lock: ## Rewrite the locks from pyproject.toml; UPGRADE=--upgrade takes newer versions.
	@[ -x .venv/lock/bin/python ] || $(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/python -m pip --disable-pip-version-check -qq install uv
	$(COMPILE) --extra dev $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(COMPILE) $(UPGRADE) --output-file stack/build.lock --group pyproject.toml:build
	$(COMPILE) --extra kubernetes --extra dask --constraint requirements.lock --output-file stack/loop.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file stack/api.lock --group pyproject.toml:api

# The revision that an image is labelled with.
BUILT_FROM := REVISION=$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

up: ## Build and start the Compose stack, wait until it is healthy, and print its addresses.
	@sh stack/make-env.sh .env
	@$(BUILT_FROM) docker compose up --build --detach --wait --wait-timeout 600
	@sh stack/say-where.sh

down: ## Stop the Compose stack; its volumes stay.
	@docker compose --profile '*' down

logs: ## Print the logs of the stack, without the secrets of .env.
	@sh stack/logs.sh

backup: ## Save the running stack to backups/TIME or TO=folder; WITH_WINDOWS=1 includes the windows.
	@sh stack/backup.sh $(if $(TO),"$(TO)")

restore: ## Restore the backup FROM=folder into a stopped stack; FORCE=1 replaces what it holds.
	@[ -n "$(FROM)" ] || sh stack/restore.sh
	@sh stack/make-env.sh .env
	@$(BUILT_FROM) docker compose build --quiet
	@sh stack/restore.sh "$(FROM)"

smoke: install ## Test the running stack from outside; results go to var/smoke.
	$(BIN)/pytest -m stack tests/stack/test_smoke.py

sbom: ## Print what an image is made of, as CycloneDX: the API's, or IMAGE=name.
	@docker run --rm --network none --entrypoint cat $(or $(IMAGE),closedloop/api:0.2.0) /opt/closedloop/sbom.json

pin-images: ## Write the digests that the registries have now behind the tags of the public images.
	@sh stack/pin-images.sh

bench-serving: install ## Compare the API with MLflow's server and usual code; quick: ARGS="--seconds 1 --repetitions 1 --keep-docs".
	@$(BIN)/python -m tests.bench.serving $(ARGS)

bench-reading: install ## Time /predict while two million records and labels are read and written; quick: ARGS="--records 50000 --keep-docs".
	@$(BIN)/python -m tests.bench.reading $(ARGS)

bench-scale: install ## Measure seconds and memory for tables of millions of rows (docs/benchmarks.md); quick: ARGS="--rows 20000".
	@$(BIN)/python -m tests.bench.scale $(ARGS)

bench-scoring: install ## Measure the promotion gate: time, false alarms, slices (docs/decisions.md); quick: ARGS="--comparisons 400".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.scoring $(ARGS)

bench-rare: install ## Measure gates and quarantine with few rows of a class (docs/decisions.md); quick: ARGS="--windows 100".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.rare_classes $(ARGS)

bench-made: install ## Replay the loop on streams whose truth is known (docs/decisions.md); quick: ARGS="--only abrupt --seeds 2 --rows 300".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.replay_made $(ARGS)

bench-explaining: install ## Time an explained row, and /predict while rows are explained; quick: ARGS="--repetitions 1 --seconds 1".
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.explaining $(ARGS)

bench-loop: install ## Replay real streams under every policy; CLOSEDLOOP_STREAMS is their folder, quick: ARGS="--only elec2".
	@$(BIN)/python -m tests.bench.replay_streams $(ARGS)

bench-probation: install ## Count the promotions of shuffled streams that probation takes back; quick: ARGS="--promotions 10".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.probation $(ARGS)

bench-references: install ## Count windows over the drift limit by what they are compared with; quick: ARGS="--seeds 1 --rows 200 --pairs 10".
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.references $(ARGS)

reference: install ## Write the reference pages of docs/ anew from the code.
	@$(BIN)/python -m docs.make_reference

notebook: install ## Run the notebook of docs/ on a loop of its own and write what it shows.
	@$(BIN)/python -m docs.make_notebook

pictures: install ## Draw the pictures of README.md and docs/ from what make demo left; needs Chromium.
	@$(BIN)/python -m docs.make_pictures
	@$(BIN)/python -m docs.make_page_pictures

recording: install ## Film a real run into docs/demo.mp4 (needs ffmpeg and Chromium).
	@$(BIN)/python -m docs.make_recording

# The variable silences a notice about the next generation of mkdocs.
docs: install ## Build the documentation into site/, and check its links.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built site/index.html"

clean: ## Delete .venv and all caches; var/ (models and journal) stays.
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
