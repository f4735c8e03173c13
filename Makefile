# Needs python3 (3.11 or later) and make; everything else is installed into $(VENV) on first use.
VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

TOOLS := .tools
LOCK := pyproject.toml --all-extras --group dev --constraint constraints.txt --universal \
	--python-version 3.11.7 --generate-hashes --no-header --no-annotate --quiet

.PHONY: help demo test lint docs screenshots bench clean coverage mutations lock lowest audit sbom reproducible

help:
	@echo "make demo    prune a real data set and check the result by exact refit (under a minute, a third of it compiling once)"
	@echo "make test    run the test suite"
	@echo "make lint    style and types"
	@echo "make docs    build the documentation, warnings as errors"
	@echo "make screenshots  draw the pictures of the documentation (needs Chromium)"
	@echo "make bench   compare all solvers on the named instances (ARGS=--smoke for a minute's worth)"
	@echo "make clean   remove $(VENV), caches and outputs"

demo: $(STAMP)
	$(BIN)/subsetsel demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs $(ARGS)
	@echo "build/docs/index.html"

screenshots: $(STAMP)
	$(BIN)/python docs/screenshots.py

bench: $(STAMP)
	$(BIN)/python bench/compare_solvers.py $(ARGS)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "subsetsel needs Python 3.11 or later; found none." \
		"Name one with: make PYTHON=/path/to/python3.11 demo" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
