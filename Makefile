# What people type. Each target does its own set-up and says what it is doing.
#
#   make demo         build, then the smart city: three agents, mTLS, impostors refused
#   make test         debug build, unit tests, scenario tests with the real binaries, the demo
#   make bench        release build, then the table in docs/performance.md
#   make release      cygnet-server and cygnet-agent as they are to be installed, in .build/release
#   make fuzz         what libFuzzer thinks up, against the HTTP/2 connection and the parsers of the SDK
#   make check        imports, format, generated code, documentation, conformance table
#   make conformance  all tests, then docs/conformance.md with their results
#   make docs         the SDK's reference, in .build/docs
#   make five-minutes follows the five-minute article in an empty package
#
# CYGNET_STRICT=1 turns warnings into errors (CI does); CYGNET_LONG=1 runs the long scenarios in full.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SWIFT ?= swift
PYTHON := .venv/bin/python
DEBUG_BIN := .build/debug
RELEASE_BIN := .build/release

# say TEXT: a heading that stands out between the lines of the tools.
say = @printf '\n\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help setup build demo run-demo test unit scenarios conformance bench release fuzz check generate \
    docs five-minutes format clean

help:
	@sed -n '3,12p' Makefile | sed 's/^# \{0,1\}//'

setup:
	@dev/setup

build:
	@dev/setup build
	$(call say,building (debug). The first time takes about ten minutes on two cores)
	@$(SWIFT) build

demo: build
	@dev/setup test
	@$(MAKE) --no-print-directory run-demo

run-demo:
	$(call say,the smart city)
	@CYGNET_BIN="$${CYGNET_BIN:-$(DEBUG_BIN)}" $(PYTHON) Examples/SmartCity/demo.py

test:
	@dev/setup build test
	$(call say,building programs and tests (debug))
	@$(SWIFT) build --build-tests
	@$(MAKE) --no-print-directory unit scenarios run-demo
	$(call say,all tests passed)

# Tests run side by side, and without a bound all of them begin at once: on a busy machine those that talk to a server
# then wait so long for their turn that the server gives them up.
unit conformance: export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 12
unit:
	$(call say,unit and component tests)
	@$(SWIFT) test --skip-build

# ONLY="01 05" runs those folders alone.
scenarios:
	$(call say,scenario tests with stock clients)
	@CYGNET_BIN="$${CYGNET_BIN:-$(DEBUG_BIN)}" $(PYTHON) Tests/Scenarios/run.py $(ONLY)

# Failed tests do not stop it: they are what the page is to show.
conformance:
	@dev/setup build test
	$(call say,building programs and tests (debug))
	@$(SWIFT) build --build-tests
	@mkdir -p .build/conformance; failed=0; \
	$(SWIFT) test --skip-build 2>&1 | tee .build/conformance/unit.log || failed=1; \
	CYGNET_BIN="$${CYGNET_BIN:-$(DEBUG_BIN)}" $(PYTHON) Tests/Scenarios/run.py 2>&1 \
	    | tee .build/conformance/scenarios.log || failed=1; \
	dev/conformance --results .build/conformance/unit.log .build/conformance/scenarios.log || failed=1; \
	exit $$failed

release:
	@dev/setup build bench
	$(call say,building (release))
	@dev/release

bench:
	@dev/setup build bench
	$(call say,building (release). The first time takes about ten minutes on two cores)
	@dev/release sdk-bench
	$(call say,measuring)
	@CYGNET_BIN="$${CYGNET_BIN:-$(RELEASE_BIN)}" $(PYTHON) Benchmarks/bench.py --write docs/performance.md $(ONLY)

# FOR=3600 fuzzes for an hour each.
fuzz:
	$(call say,fuzzing the HTTP/2 connection and the parsers of the SDK, $(or $(FOR),60) s each)
	@dev/fuzz $(or $(FOR),60)

docs:
	@dev/setup build
	@dev/docs

five-minutes: build
	@dev/setup test
	$(call say,the five-minute article in an empty package. The first time takes about five minutes)
	@dev/check-five-minutes

# All run, so that one round shows every finding.
check:
	@dev/setup build generate
	@failed=(); \
	for step in "check-imports" "format check" "check-docs" "check-generated" "conformance --check" "docs"; do \
	    printf '\n\033[1m==> dev/%s\033[0m\n' "$$step"; \
	    dev/$$step || failed+=("$$step"); \
	done; \
	if [ "$${#failed[@]}" -gt 0 ]; then \
	    printf '\ncheck: failed: %s\n' "$${failed[*]}"; exit 1; \
	fi

generate:
	@dev/setup build generate
	$(call say,generating Swift from Protos/)
	@dev/gen-protos

format:
	@dev/format fix

clean:
	@rm -rf .build .venv
