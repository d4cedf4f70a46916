# Set-up, the demo and the checks. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-light test-changed compatibility check docs docs-serve bench faults soak screenshots versions train clean

# Compiled once, not by each of the hundreds of processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

# So many tests at once. One more than there are cores, since many wait; each has its own servers.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() + 1))')
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

##@ Begin
help:  ## Show this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

demo: $(READY)  ## Label a few hundred held-out texts and images, all on this machine
	$(BIN)/labelmill demo

##@ Test
test: $(READY)  ## Run all tests; they start their own Redis and PostgreSQL
	$(PYTEST)

test-fast: $(READY)  ## Run the unit tests: about a minute on two cores
	$(PYTEST) tests/unit

test-light: $(READY)  ## Run the unit tests that need no torch: half of that
	$(BIN)/python -m tests.changed --light --numprocesses $(JOBS) --dist worksteal

test-changed: $(READY)  ## Run the tests that a change touches; BASE=main, by default what is not committed
	$(BIN)/python -m tests.changed --base $(or $(BASE),HEAD) --numprocesses $(JOBS) --dist worksteal

faults: $(READY)  ## Run the fault tests alone, in their long form: kills, restarts, poison, bad input
	$(PYTEST) -m "" tests/faults

soak: $(READY)  ## Have all fail at random under load, and count what is lost; MINUTES=10
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10)

compatibility: $(READY)  ## This version beside the last one, in one Redis and one database; BASE=v0.2.0
	$(BIN)/python -m tests.compatibility $(if $(BASE),--base $(BASE)) --numprocesses $(JOBS) --dist worksteal

versions: $(READY)  ## The client on each Python with the oldest and newest packages; PYTHONS="…" for some
	$(BIN)/python -m tests.versions $(PYTHONS)

##@ Check
check: $(READY)  ## Lint, types, rules between the rooms, schemas of YAML files, and the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.typecheck
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/kubernetes-validate --strict deploy/kubernetes/*.yaml
	$(MAKE) --no-print-directory docs

docs: $(READY)  ## Build the docs site in build/docs, without a warning
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs

docs-serve: docs  ## Build it and show it at http://127.0.0.1:8001
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs 8001

##@ Measure
bench: $(READY)  ## Measure everything against its peers (about 25 minutes); PARTS="texts queue" for some
	$(BIN)/python -m labelmill.bench $(PARTS)

##@ Make again
screenshots: $(READY)  ## Take the pictures of the page in docs/ again
	$(BIN)/python -m tests.screenshots

train: $(READY)  ## Train the demo's two models again
	$(BIN)/python -m labelmill.demo.train

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml bench/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import shutil, sys; sys.exit(sys.version_info >= (3, 13) and not shutil.which("redis-server"))' || \
	  { echo "A Redis comes with Python up to 3.12; install redis-server, or name one: make PYTHON=python3.12 …"; exit 1; }
	@echo 'installing into $(VENV): some minutes and 2.6 GB, most of it torch'
	@rm -rf labelmill.egg-info  # of an older checkout, it would name entry points that are gone
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[worker,gateway,bulk,webhook,postgres,embedded,dev]' --editable ./bench
	@touch $(READY)
