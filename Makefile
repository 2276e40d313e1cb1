# SPDX-License-Identifier: Apache-2.0
# The front door. CMake and Ninja do the building (CMakePresets.json); this file installs what they need, names the
# common tasks and holds nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CONFIG ?= vortex.yaml
# release is what ships; it takes about ten minutes when it is built for the first time on a machine. dev-release is
# the same code without link-time optimisation, for work on native/ itself:  make build NATIVE_PROFILE=dev-release
NATIVE_PROFILE ?= release
FUZZ_SECONDS ?= 60
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

VENV := build/venv
PYTHON := $(VENV)/bin/python
CONFIGURE := cmake -DVX_NATIVE_PROFILE=$(NATIVE_PROFILE) --log-level=WARNING

.PHONY: help
help: ## What can be made
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build all that is missing, start the proxy on vortex.yaml with two demo backends
	@scripts/dev-certs certs
	@scripts/run-demo build/vortex $(CONFIG)

.PHONY: build
build: packages-build ## The release binary, at build/vortex
	@$(CONFIGURE) --preset release >/dev/null
	@cmake --build build --target vortex -j $(JOBS)

.PHONY: filters
filters: ## The filters that ship with it (Rust, for WebAssembly), into filters/*.wasm
	@scripts/build-filters

.PHONY: test
test: packages-test $(VENV)/.done ## Every test: unit, simulator and corpora (plain, ASan+UBSan, TSan), integration
	@tests/run-all --jobs $(JOBS) --native-profile $(NATIVE_PROFILE)

.PHONY: asan tsan
asan tsan: packages-test $(VENV)/.done ## Only the tests of the ASan+UBSan or the TSan build
	@tests/run-all --jobs $(JOBS) --native-profile $(NATIVE_PROFILE) --only $@

.PHONY: fuzz
fuzz: packages-test $(VENV)/.done ## Each fuzzer for FUZZ_SECONDS (60), starting from its corpus
	@$(CONFIGURE) --preset fuzz >/dev/null
	@cmake --build build/fuzz -j $(JOBS)
	@scripts/fuzz-all build/fuzz/tests $(FUZZ_SECONDS)

.PHONY: bench
bench: packages-bench $(VENV)/.done ## Micro-benchmarks and the side-by-side against peers, into build/bench/
	@$(CONFIGURE) --preset release >/dev/null
	@cmake --build build --target vortex bench_programs -j $(JOBS)
	@$(PYTHON) tests/bench/run.py

.PHONY: swaps
swaps: packages-bench ## 10,000 hot swaps of a plugin under load
	@$(CONFIGURE) --preset release >/dev/null
	@cmake --build build --target vortex vx_guests -j $(JOBS)
	@python3 tests/bench/swaps.py

.PHONY: load-test
load-test: ## Vegeta against a running proxy (URL, RATE, SECONDS_LONG), with a latency histogram
	@tests/bench/load-test.sh

.PHONY: lint
lint: packages-lint $(VENV)/.done ## clang-tidy, clang-format and the project's own rules
	@$(CONFIGURE) --preset release >/dev/null
	@cmake --build build --target vx_libraries vx_llhttp -j $(JOBS)
	@$(PYTHON) scripts/lint.py --jobs $(JOBS)

.PHONY: format
format: packages-lint ## Lay out all C sources with clang-format
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format-16 -i

.PHONY: clean
clean: ## Remove build/ (the cached native archive stays: ~/.cache/vortex)
	rm -rf build

.PHONY: clean-native
clean-native: ## Remove the cached native archive too; the next build makes it again
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/vortex"

.PHONY: packages-build packages-test packages-lint packages-bench
packages-build:
	@scripts/install-packages build
packages-test:
	@scripts/install-packages build test lint
packages-lint:
	@scripts/install-packages build lint
packages-bench:
	@scripts/install-packages build bench

$(VENV)/.done: tests/requirements.txt
	@python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@
