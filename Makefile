# Two commands are enough: `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up down status logs test check bench plan format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

up: $(VENV)/.runtime ## install, start everything on this machine, run the pipeline once, print the addresses
	@$(BIN)/collectors up $(ARGS)

down: ## stop exactly what `make up` started
	@if [ -x $(BIN)/collectors ]; then $(BIN)/collectors down; else echo "nothing is installed, so nothing runs"; fi

status: $(VENV)/.runtime ## show every component: state, address, what to look at
	@$(BIN)/collectors status $(ARGS)

logs: $(VENV)/.runtime ## show the logs; make logs ARGS="agent -f"
	@$(BIN)/collectors logs $(ARGS)

test: $(VENV)/.dev ## all tests: real PostgreSQL, Redis, processes and Dagster instances
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev ## format, lint, types, floor plan, Dagster definitions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd tests && PYTHONPATH=.. $(abspath $(BIN))/dagster definitions validate --log-level warning -w ../workspace.yaml  # elsewhere: dagster.yaml here wants a database

plan: $(VENV)/.dev ## the floor plan: which room may import which
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## run the benchmarks and write docs/benchmarks.md
	@$(BIN)/python -m bench

lock: $(VENV)/.dev ## write the hash-locked requirements anew
	@$(BIN)/python deploy/lock.py

clean: down ## remove the virtual environment and caches (never the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# --- installation, from the lock only ---------------------------------------------------------------
$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: Python >= 3.11 is needed and none was found; install it (e.g. apt-get install python3 python3-venv, or brew install python@3.12) or say make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: $(PYTHON) is older than Python 3.11; say make PYTHON=/path/to/a/newer/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: $(PYTHON) lacks venv; install it (Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: the virtual environment $(VENV) could not be made; is this directory writable and the disk not full?" >&2; exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the locked packages into $(VENV) (a minute or two, once) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements.txt || { \
		echo "make: the packages could not be installed; pip's reason stands above (network? disk space?)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q collectors_dagster assets resources sensors
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing the development tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
