# Every target sets up what it needs in .venv; Python 3.11 or newer is all it asks for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo demo-train test test-all check clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dokkai needs Python 3.11 or newer; set PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt "setuptools>=77"
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable .
	$(BIN)/python -m compileall -q src
	touch $@

# What the tests and checks need beside it.
$(VENV)/.tools: $(VENV)/.ready
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[test,check]"
	touch $@

# TensorFlow, which some slow tests compare with: nothing but test-all needs it.
$(VENV)/.reference: $(VENV)/.tools
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[reference]"
	touch $@

demo: setup
	@bash examples/demo.sh

demo-train: setup
	bash examples/train.sh

test: $(VENV)/.tools
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadscope

test-all: $(VENV)/.reference
	DOKKAI_REFERENCE=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope

check: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
