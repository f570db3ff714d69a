# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check lint types layers bench setup clean

demo: setup
	$(BIN)/glidepath demo

test: setup
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

check: lint types layers

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

bench: setup
	$(BIN)/glidepath bench

setup: $(READY)

$(READY): pyproject.toml constraints.txt setup.py src/glidepath/flyers/inbox.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Glidepath needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Call make with PYTHON=python3.12, for example.")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
