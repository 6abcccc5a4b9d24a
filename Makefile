# Each target is a line that one could type; `make run` and `make test` set up all they need.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run repro test test-all lint format ui reference constraints clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

run: $(BIN)/.installed  ## from photographs to a judged model; PRESET=smoke|thesis for another size
	tintlab repro $(if $(PRESET),--preset $(PRESET))

test: $(BIN)/.installed  ## the quick test suite
	pytest -m 'not slow'

test-all: $(BIN)/.installed  ## the long tests too
	pytest

lint: $(BIN)/.installed  ## style, types, import order
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: $(BIN)/.installed  ## mend what can be mended
	ruff check --fix .
	ruff format .

ui: $(BIN)/.installed  ## browse the runs in MLflow
	tintlab ui

reference:  ## from now on, compare reports with the present one
	cp reports/per_photo.csv reports/reference.csv

constraints: $(BIN)/.installed  ## renew constraints.txt from what pyproject.toml resolves to today
	rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	.venv-constraints/bin/python -m pip freeze --exclude tintlab | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-constraints

clean:  ## forget the environment (not the data, not the models)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
