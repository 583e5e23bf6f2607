# Everything that needs setting up sets itself up: `make demo` and `make test` work on a bare machine with python3
# (3.11 or later), python3-venv and make. PYTHON=python3.12 takes another Python, VENV=DIR another place.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs pictures clean

help: ## print the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile

demo: $(VENV)/base.stamp ## fit the example recording, play it back, print how close it comes
	@$(BIN)/python examples/demo.py

test: $(VENV)/dev.stamp ## run every test
	@$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/dev.stamp ## put the code into the project's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## write the tables of options, settings and columns anew into README.md and docs/
	@$(BIN)/python docs/make_tables.py

pictures: $(VENV)/dev.stamp ## draw the pictures of the documentation anew, from what `make demo` found
	@test -f demo/morning.npz || $(MAKE) --no-print-directory demo
	@$(BIN)/python docs/make_pictures.py demo/morning.npz

clean: ## remove the environment, caches and what the demo wrote
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The pinned setuptools builds the package, where pip by itself would fetch the newest.

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "Installing what the tests need ..."
	@$(PIP) --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/base.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing sparse and what it needs, once: some hundred MB, or a few GB with torch for CUDA ..."
	@$(PIP) --quiet setuptools
	@$(PIP) --quiet --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: apt install python3, or make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: sparse needs 3.11 or later; give one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
