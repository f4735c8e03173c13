# Needs python3 (3.11 or later) and make; everything else is installed into $(VENV) on first use.
VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

TOOLS := .tools
# File in which coverage records the lines that ran.
COVERED ?= .coverage
LOCK := pyproject.toml --all-extras --group dev --constraint constraints.txt --universal \
	--python-version 3.11.7 --generate-hashes --no-header --no-annotate --quiet

# The tests that run every line of the kernels, without those that take minutes in plain Python.
PLAIN := tests/test_anneal.py tests/test_descent.py tests/test_relaxation.py tests/test_greedy.py \
	tests/test_semidefinite.py -k "not pools_replace and not uneven_rows and not same_call \
	and not iterations_are and not workers and not option and not guess and not variant \
	and not cure and not whole_numbers and not copy and not core"

.PHONY: help demo test lint house docs screenshots bench clean coverage coverage-of-kernels \
	coverage-report mutations fuzz lock lowest audit sbom reproducible

help:
	@echo "make demo    prune a real data set and check the result by exact refit (under a minute; the first time a third of it compiles)"
	@echo "make test    run the test suite"
	@echo "make lint    style, types, and who may import whom"
	@echo "make house   count rooms, floors, arrows, circles and lines (ARGS=--check to fail where one is out of order)"
	@echo "make docs    build the documentation, warnings as errors"
	@echo "make screenshots  draw the pictures of the documentation (needs Chromium)"
	@echo "make bench   compare all solvers on the named instances (ARGS=--smoke for a minute's worth)"
	@echo "make coverage      the suite under coverage, the kernels as plain Python; 95 % of lines, 90 % of branches"
	@echo "make mutations     take each guard of docs/faults.md out and check that its test then fails"
	@echo "make fuzz          coverage-guided fuzzing of solve (ARGS='--runs 100000')"
	@echo "make lock lowest audit sbom reproducible    see docs/releasing.md"
	@echo "make clean   remove $(VENV), caches and outputs"

demo: $(STAMP)
	$(BIN)/subsetsel demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	bash .ci/imports $(BIN)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(BIN)/mypy

house: $(STAMP)
	$(BIN)/python tests/house.py $(ARGS)

docs: $(STAMP)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs $(ARGS)
	@echo "build/docs/index.html"

screenshots: $(STAMP)
	$(BIN)/python docs/screenshots.py

bench: $(STAMP)
	$(BIN)/python bench/compare_solvers.py $(ARGS)

# In the suite the kernels are compiled, and coverage sees no line of them. So their own tests run once more with the
# kernels as plain Python, and both records are combined.
coverage: $(STAMP)
	rm -f $(COVERED).*
	COVERAGE_FILE=$(COVERED).compiled $(BIN)/python -m pytest -n 2 --cov --cov-report= $(ARGS)
	$(MAKE) --no-print-directory coverage-of-kernels coverage-report

coverage-of-kernels:
	NUMBA_DISABLE_JIT=1 COVERAGE_FILE=$(COVERED).plain $(BIN)/python -m coverage run --rcfile=/dev/null --branch \
		--include='*_kernels.py' -m pytest -n 0 -m "not slow" $(PLAIN)

coverage-report:
	COVERAGE_FILE=$(COVERED) $(BIN)/python -m coverage combine $(COVERED).compiled $(COVERED).plain
	COVERAGE_FILE=$(COVERED) $(BIN)/python tests/coverage_floor.py

mutations: $(STAMP)
	$(BIN)/python tests/mutations.py $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris
	$(BIN)/python bench/fuzz.py $(ARGS)

# Write the SHA-256 of every file that may be installed, for those who install with --require-hashes.
lock: $(TOOLS)/.installed
	$(TOOLS)/bin/uv pip compile $(LOCK) --output-file requirements.lock

# Install the oldest versions that pyproject.toml allows and run the fast tests on them.
lowest: $(TOOLS)/.installed
	$(TOOLS)/bin/uv venv --quiet --clear --python 3.11 .venv-lowest
	$(TOOLS)/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct \
		--editable . pytest hypothesis "scikit-learn>=1.6" "matplotlib>=3.9"
	.venv-lowest/bin/python -m pytest -W default -m "not slow" -k "not demo" tests/test_solve.py \
		tests/test_conformance.py tests/test_influence.py tests/test_head.py tests/test_verify.py \
		tests/test_solution.py tests/test_read.py tests/test_manifest.py tests/test_cli_*.py

audit: $(TOOLS)/.installed
	$(TOOLS)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip

sbom: $(STAMP) $(TOOLS)/.installed
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file dist/sbom.json $(BIN)/python

reproducible: $(STAMP)
	bash .ci/reproducible $(BIN)/python

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet "uv>=0.9" "pip-audit>=2.9" "cyclonedx-bom>=7.0"
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "subsetsel needs Python 3.11 or later; found none." \
		"Name one with: make PYTHON=/path/to/python3.11 demo" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(STAMP)

clean:
	rm -rf $(VENV) $(TOOLS) .venv-lowest build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
