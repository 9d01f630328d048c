# Everything a newcomer types. `make search` and `make test` do all the set-up themselves.
#   PYTHON=python3.11   interpreter for the virtual environment
#   WHEELS=dir          folder of ready wheels (mmcv takes some minutes to build without one)
#   SEARCH=file         search specification for `make search`
#   DATA=dir            blood cells in COCO format for `make bench`
PYTHON ?= python3
VENV ?= .venv
SEARCH ?= examples/digits.yaml
WORKERS ?= 2
BIN := $(VENV)/bin
# Tests wait for processes, servers and commits a quarter of their time: half as many processes again as cores.
ON_EVERY_CORE := --numprocesses $(shell n=$$(nproc); echo $$((n < 6 ? n + (n + 1) / 2 : 8))) --dist worksteal
# Real trainings keep a core busy, and what the tests of a file share may take minutes to set up: no file is split, and
# none is left for the end because it has one long test.
ON_EVERY_CORE_BY_FILE := --numprocesses $(shell n=$$(nproc); echo $$((n < 8 ? n : 8))) --dist loadfile --no-loadscope-reorder
# Thousands of small files and databases are made and removed again: in memory, where half a gigabyte is little and programs
# may run.
MEMORY := $(shell grep " /dev/shm " /proc/mounts 2> /dev/null | grep -v noexec)
IN_MEMORY := $(if $(TMPDIR),,$(if $(MEMORY),$(shell df --output=avail /dev/shm | awk '$$1 + 0 > 4e6 { print "TMPDIR=/dev/shm" }')))
READY := $(VENV)/.ready

.PHONY: help setup search test test-faults test-slow test-cluster test-all check lint docs dist bench gpu-check clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## create the virtual environment with pinned versions

$(READY): requirements.lock pyproject.toml deploy/set_up.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" WHEELS="$(WHEELS)" deploy/set_up.sh
	@touch $@

search: $(READY)  ## search a loss on the embedded data set and show the result
	@$(BIN)/paploss search $(SEARCH) --workers $(WORKERS)

test: $(READY)  ## the default test suite, in processes of one thread each
	$(IN_MEMORY) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not faults and not cluster" $(ON_EVERY_CORE)

test-faults: $(READY)  ## searches whose processes, servers and networks are broken
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "faults and not slow and not cluster" $(ON_EVERY_CORE_BY_FILE)

test-slow: $(READY)  ## real trainings and long runs, the longer faults among them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not cluster" $(ON_EVERY_CORE_BY_FILE)

# A cluster that is given has one node for them all, whose GPUs they count; else each process starts a control plane.
test-cluster: $(READY)  ## the tests against a Kubernetes API (KUBECONFIG)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "cluster" $(if $(KUBECONFIG),,$(ON_EVERY_CORE_BY_FILE))

test-all: $(READY)  ## every test, with the slow real trainings
	$(BIN)/python -m pytest

lint: $(READY)  ## formatting, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test  ## before a commit: lint and the default tests

docs: $(READY)  ## build the documentation into build/docs; a dead link or an unknown reference fails
	$(BIN)/python docs/make_reference.py
	$(BIN)/sphinx-build -W --keep-going -n -q -b html -d build/doctrees docs build/docs

dist: $(READY)  ## build a release into build/dist: wheel, sdist, chart, documentation, SHA256SUMS
	$(BIN)/python deploy/make_dist.py

bench: $(READY)  ## run the benchmarks of speed and of simulated searches, and record their results
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

gpu-check: $(READY)  ## whether everything works on this machine's GPU, and how fast; half an hour
	$(BIN)/python -m benchmarks.gpu_check

clean:  ## remove the environment and caches, keep searches
	rm -rf $(VENV) build *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache
