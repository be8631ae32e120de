# The commands of the project. `make demo` and `make test` need nothing but Python (>= 3.11) with pip.
# Everything is installed into a virtual environment inside the repository; nothing outside it is touched.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
SLIDE ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
PIP_FLAGS := -qq --disable-pip-version-check
PACKAGES := slides tiling foundation mil biomarkers api
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check prove bench clean
.DELETE_ON_ERROR:

help: ## this list
	@grep -E '^[a-z%-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

# Debian ships Python without ensurepip; there the pip that is installed puts one into the environment.
$(BIN)/python:
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	  && $(PYTHON) -m pip --python $(BIN)/python install $(PIP_FLAGS) pip; }

# The stamps say what is installed, so that nothing is installed twice. The full one includes the lean one.
$(VENV)/.installed-lean: $(INPUTS) | $(BIN)/python
	@echo "installing oncoscope (some minutes the first time)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(BIN)/python
	@echo "installing oncoscope and the tools of its developers (some minutes the first time)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.installed-lean $@

setup: $(VENV)/.installed-dev ## virtual environment with everything a developer needs

demo: $(VENV)/.installed-lean ## score a sample slide and write its report
	@$(BIN)/oncoscope demo

test: setup ## all tests, with branch coverage
	@rm -f .coverage .coverage.*
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest --quiet -n auto --dist loadfile --cov --cov-report= --cov-fail-under=0 $(PYTEST_ARGS)

check: setup ## lint, types, imports, wheel contents; coverage when `make test` has left its data
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "run: $(BIN)/ruff format"; exit 1; }
	@$(BIN)/mypy --no-error-summary $(PACKAGES) tests tools $(wildcard benchmarks/*.py proofs/*.py)
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }
	@rm -rf $(VENV)/wheel && $(BIN)/python -m build --wheel --outdir $(VENV)/wheel . >$(VENV)/wheel.log 2>&1 \
	  || { tail -n 20 $(VENV)/wheel.log; exit 1; }
	@$(BIN)/check-wheel-contents $(VENV)/wheel
	@if [ -f .coverage ]; then $(BIN)/coverage report; else echo "no coverage data: run make test first"; fi
	@echo "check: all gates passed"

prove: setup ## the long fault and science proofs, each printing its figures
	@set -e; for proof in proofs/prove_*.py; do [ -f "$$proof" ] || continue; \
	  echo "== $$proof"; $(BIN)/python "$$proof"; done

bench: setup ## every benchmark; `make bench-NAME` runs one
	@set -e; for bench in benchmarks/[!_]*.py; do [ -f "$$bench" ] || continue; \
	  echo "== $$bench"; $(BIN)/python "$$bench"; done

bench-%: setup
	@$(BIN)/python benchmarks/$*.py $(if $(SLIDE),--slide $(SLIDE)) $(BENCH_ARGS)

clean: ## remove what these commands made
	rm -rf $(VENV) oncoscope-demo .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
