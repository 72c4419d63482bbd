# Every target works from a fresh clone: it makes .venv, installs what it needs, then runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := passive

.PHONY: demo test test-slow docs lint type format install clean

demo: install
	$(BIN)/lgd compare digits --methods random dit lgd lgd-anchored lgd-real-easiest --runs 3 --out runs/demo \
		--evaluation.ipc 2 6 10 --evaluation.seeds 3 --evaluation.redundancy-seeds 1

# A process for each core of a small machine; tests that share a module's fixture run in the same one.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --run-slow

# Warnings are errors. The second command checks the links, and that no page loads anything from another host.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/check_site.py site

lint: install
	$(BIN)/ruff check src tests benchmarks docs hatch_build.py
	$(BIN)/ruff format --check src tests benchmarks docs hatch_build.py

type: install
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix src tests benchmarks docs hatch_build.py
	$(BIN)/ruff format src tests benchmarks docs hatch_build.py

install: $(VENV)/.installed

# torch first and by its exact version: otherwise pip may choose a CUDA build of several gigabytes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs site .pytest_cache .mypy_cache .ruff_cache
