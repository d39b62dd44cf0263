# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-slow test-slow-sample matrix lint format bench bench-cli bench-eval bench-sync bench-train bench-tui clean help

help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/: .*## /\t/' | expand -t 14

demo: $(STAMP)   ## the whole way on this machine; without a terminal: headless
	@$(BIN)/gpusess demo

test: $(STAMP)   ## lint, types, the rooms' arrows, and the tests (below ten minutes on two cores)
	$(MAKE) lint
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(STAMP)  ## the crash matrix and all else that takes long
	$(BIN)/python -m pytest -n 2 -m slow

test-slow-sample: $(STAMP)  ## what CI runs of the slow ones
	$(BIN)/python -m pytest -n 2 -m "slow and sample"

matrix: $(STAMP)  ## no orphan: every step of launch and terminate × every fault × every cloud
	@$(BIN)/python -m tests.cloud.matrix

lint: $(STAMP)   ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-cli bench-eval bench-sync bench-train bench-tui ## all benchmarks

bench-cli: $(STAMP)  ## start-up, first paint, stream latency, idle cost, generation
	$(BIN)/python -m benchmarks.cli

bench-sync: $(STAMP)  ## syncing and streaming beside rsync, scp and ssh; needs sshd, and root for the long line
	$(BIN)/python -m benchmarks.sync

bench-eval: $(STAMP)  ## scores, verdicts and pace beside lm-evaluation-harness; records at home
	$(BIN)/python -m benchmarks.eval

bench-train: $(STAMP)  ## what a training gains, survives and stops, and its pace beside TRL's own script
	$(BIN)/python -m benchmarks.train

bench-tui: $(STAMP)  ## the cockpit on a pseudo terminal: keys under a flood of records, a million results, 50 sessions
	$(BIN)/python -m benchmarks.tui

# torch comes first and pinned: a newer one would bring gigabytes of CUDA packages along.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' --config-settings editable_mode=compat
	@touch $@

clean:           ## remove what was set up
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
