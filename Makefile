# `make help` lists what there is. The first command in a fresh clone makes the environment by itself;
# it needs Python 3.11 or 3.12 with pip, and nothing else.

.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -c
SHELL := /bin/sh

# Name an interpreter to use it: `make setup PYTHON=/opt/python3.12/bin/python`.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup run up down test slow lint lock bench quality clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment (.venv) from the lock; again only when the lock changes

$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" .ci/environment $(VENV)
	@touch $@

run: $(READY) ## Make the demo's last two nights through Airflow and show the lists (a few minutes)
	@$(BIN)/python -m recjobs.airflow run

up: $(READY) ## Start Airflow's UI with the DAGs, on the same data
	@$(BIN)/python -m recjobs.airflow up

down: $(READY) ## Stop Airflow and the embedded Postgres
	@$(BIN)/python -m recjobs.airflow down

test: $(READY) ## Run the tests, the slow ones left out
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

slow: $(READY) ## Run the slow tests: whole nights, older versions of PostgreSQL
	@$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lock: $(READY) ## Write requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --extra dev --no-header \
		--quiet --output-file requirements.lock pyproject.toml

bench: $(READY) ## Measure every stage against its yardstick
	@$(BIN)/python -m benchmarks

quality: $(READY) ## Measure retrieval beside baselines on real data sets
	@$(BIN)/python -m benchmarks.quality $(ARGS)

clean: ## Stop what runs and remove everything that was made: environment, data, databases, caches
	-@if [ -x $(BIN)/python ] && [ -d work ]; then $(BIN)/python -m recjobs.airflow down; fi
	rm -rf $(VENV) work build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
