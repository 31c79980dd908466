# Everything begins here: `make demo`, `make up`, `make test`. Needs Python 3.11+, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := -c requirements/constraints.txt
PATHS := visionseg api workers migrations tests bench demo
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help demo up test test-long chaos check fmt bench requirements clean

help: ## Shows what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of packages; a change of the pins installs anew.
$(VENV)/demo.stamp: $(BIN)/python pyproject.toml requirements/constraints.txt
	@echo "installing the demo's packages (about 1 GB; the first time only) …"
	$(PIP) install --progress-bar on $(CONSTRAINTS) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml requirements/constraints.txt
	@echo "installing every package, PyTorch included (about 6 GB; the first time only) …"
	$(PIP) install --progress-bar off $(CONSTRAINTS) -e '.[dev,sam3]'
	@touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp ## Runs the whole service once and leaves pictures in demo-output/
	$(BIN)/visionseg weights fetch
	$(BIN)/python demo/run.py

up: $(VENV)/demo.stamp ## Keeps the service running at http://127.0.0.1:8000 until Ctrl-C
	exec $(BIN)/visionseg up

test: $(VENV)/dev.stamp ## Installs everything and runs the checks and tests
	$(BIN)/visionseg weights fetch
	$(MAKE) check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist loadgroup -m "not long" $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-long: $(VENV)/dev.stamp ## Runs the tests that take minutes each
	$(BIN)/visionseg weights fetch
	$(BIN)/python -m pytest -m long $(TESTS)

chaos: $(VENV)/dev.stamp ## Runs seeded chaos for minutes; VISIONSEG_CHAOS_SEED repeats one
	$(BIN)/python -m pytest -m long tests/lifecycle/faults/test_chaos.py

check: $(VENV)/dev.stamp ## Lint, types, imports
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/mypy
	$(BIN)/mypy demo bench tests
	$(BIN)/lint-imports

fmt: $(VENV)/dev.stamp ## Formats the code
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

bench: $(VENV)/dev.stamp ## Measures everything in bench/, for half an hour on a quiet machine
	$(BIN)/visionseg weights fetch
	set -e; for name in lite queueing cancel beside images waits media media_memory; do $(BIN)/python -m bench.$$name; done

requirements: $(VENV)/dev.stamp ## Pins every package anew
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --python-version 3.11 \
	  --extra dev --extra sam3 -c requirements/limits.txt pyproject.toml \
	  -o requirements/constraints.txt

clean: ## Removes what was built, not the data
	rm -rf $(VENV) demo-output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
