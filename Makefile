# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled

.PHONY: demo test test-slow check lint types layers docs bench setup clean

demo: setup
	$(BIN)/glidepath demo

test: setup
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile -m "not slow"

# Tests that take long or need a browser or a database; they skip with a reason where there is none.
test-slow: setup
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile -m slow

check: lint types layers docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

# The documentation as a site, in site/; warnings are errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: setup
	$(BIN)/glidepath bench

setup: $(COMPILED)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Glidepath needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Call make with PYTHON=python3.12, for example.")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# The installation has compiled it; this is for those who change it. No compiler is no error.
$(COMPILED): $(READY) setup.py src/glidepath/flyers/monitors/inbox.c
	rm -f src/glidepath/flyers/monitors/_inbox.*
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

clean:
	rm -rf $(VENV) build dist site src/*.egg-info src/glidepath/flyers/monitors/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
