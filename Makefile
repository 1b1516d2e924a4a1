# Everything runs in .venv, made from scratch on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types unit slow docs clean

# The demo's matrices are small: a second BLAS thread costs more than it brings.
demo: export OMP_NUM_THREADS = 1
demo: $(VENV)/.installed
	$(BIN)/omnisearch demo --workspace demo

test: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# One thread a process: two test processes, and those that tests start, share two cores.
unit slow: export OMP_NUM_THREADS = 1

unit: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

slow: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow $(if $(BUDGET),--budget $(BUDGET)) -rs

docs: $(VENV)/.installed-dev
	$(BIN)/python -m omnisearch.cli.docs

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info
