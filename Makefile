# Everything runs in .venv, made from scratch on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo cluster test lint types unit slow docs clean

# The demo's matrices are small: a second BLAS thread costs more than it brings.
demo: export OMP_NUM_THREADS = 1
demo: $(VENV)/.installed
	$(BIN)/omnisearch demo --workspace demo

# Three Qdrant nodes, two services and Ray on this machine: their answers beside the local engine's.
cluster: export OMP_NUM_THREADS = 1
cluster: export OMNISEARCH_QDRANT ?= .cache/qdrant/package/bin/qdrant
cluster: demo $(VENV)/.installed-dev
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/cluster_services.py
	$(BIN)/python benchmarks/encode.py --workspace demo --runner ray

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
