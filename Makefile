# Each word sets up what it needs, shows what it does, and is fast when run again.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMPS := .stamps
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test test-long check bench docs help
.DEFAULT_GOAL := help

help:  ## Show the words this file knows
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(STAMPS)/demo  ## Train on real data, keep, export with proof, serve, ask
	@$(BIN)/python examples/demo.py

test: check  ## Lint, types, layers and tests
	@echo "→ tests"
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-long: $(STAMPS)/test  ## Every fault at every call, thousands of power cuts and flipped bits
	@echo "→ faults"
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m long

check: $(STAMPS)/test  ## Lint, types and layers
	@echo "→ lint"   && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "→ types"  && $(BIN)/mypy
	@echo "→ layers" && $(BIN)/lint-imports --no-cache

bench: $(STAMPS)/bench  ## Measure against peers; each prints a table and one line of JSON
	@for file in bench/[a-z]*.py; do echo "→ $$file"; $(BIN)/python $$file || exit 1; done

docs: $(STAMPS)/test  ## Write the pages that are made from the code, and check them all
	@$(BIN)/python docs/make.py
	@$(BIN)/python -m pytest tests/docs

$(BIN)/python:
	@echo "→ $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Engram needs Python 3.11 or newer; set PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip setuptools --constraint constraints.txt

$(STAMPS)/demo: $(BIN)/python $(SOURCES)
	@echo "→ installing the core and torch (some minutes the first time)"
	@$(BIN)/python -m pip install --constraint constraints.txt --progress-bar on --quiet --quiet -e '.[torch]' scikit-learn
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: $(BIN)/python $(SOURCES)
	@echo "→ installing what the tests need (some minutes the first time)"
	@$(BIN)/python -m pip install --constraint constraints.txt --quiet -e '.[test]'
	@mkdir -p $(STAMPS)/node && cp tests/servers/package.json tests/servers/package-lock.json $(STAMPS)/node/
	@npm ci --prefix $(STAMPS)/node --no-audit --no-fund --loglevel=error >/dev/null 2>&1 \
		|| echo "  no npm here: tests against Azurite and s3rver will be skipped, and say so"
	@$(BIN)/python -m pip install --no-deps --quiet --quiet --target $(STAMPS)/mlflow --upgrade -r tests/servers/mlflow.txt \
		|| echo "  no MLflow here: tests with it will be skipped, and say so"
	@command -v skopeo >/dev/null || (apt-get update && apt-get install --yes skopeo) >/dev/null 2>&1 \
		|| echo "  no skopeo here, and no right to install it: tests that copy versions with it will be skipped, and say so"
	@touch $@ $(STAMPS)/demo

$(STAMPS)/bench: $(STAMPS)/test
	@echo "→ installing what others keep networks with"
	@$(BIN)/python -m pip install --constraint constraints.txt --quiet -e '.[bench]'
	@touch $@
