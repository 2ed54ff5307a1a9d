# Each target sets up what it needs: a virtual environment in .venv with the tested versions of constraints.txt.
PYTHON ?= python3
# Passed to pip, to name the index of a CPU build of PyTorch for instance.
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: quickstart test test-slow lint bench clean
quickstart: $(READY)
	$(BIN)/python recipes/recycle.py recipes/quickstart --output_dir runs/quickstart

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(READY)
	$(BIN)/python tests/benchmarks/bench_scoring.py
	$(BIN)/python tests/benchmarks/bench_scoring_memory.py
	$(BIN)/python tests/benchmarks/bench_oracle.py
	$(BIN)/python tests/benchmarks/bench_instant.py
	$(BIN)/python tests/benchmarks/bench_coverage.py
	$(BIN)/python tests/benchmarks/bench_sft.py
	$(BIN)/python tests/benchmarks/bench_hub.py
	$(BIN)/python tests/benchmarks/bench_report.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	@touch $(READY)

clean:
	rm -rf $(VENV) runs build *.egg-info
