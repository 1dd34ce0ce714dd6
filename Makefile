# Two commands on a fresh machine: `make demo` and `make test`. Run again, they reuse what is there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all check bench clean

demo: $(VENV)/.runtime  ## predict depth for the pictures in examples/ with the bundled model
	$(BIN)/dpt depth examples --output demo_output
	@echo "Look at demo_output/*_depth_color.png; demo_output/*_depth.png hold the values."

test: $(VENV)/.development  ## all tests but further cases of some that take long
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not long"

test-all: $(VENV)/.development  ## all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: $(VENV)/.development  ## style, types, layers, and a build of the wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	@echo "wheel: $$(ls build/wheel/*.whl)"

bench: $(VENV)/.development  ## measure all and write the table of docs/performance.md (hours where models are large)
	$(BIN)/python benchmarks/performance.py

clean:
	rm -rf $(VENV) build dist demo_output src/*.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.development: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[test,check]"
	@mkdir -p build
	@touch $@ $(VENV)/.runtime
