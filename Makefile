# What people and machines run here; `make` alone lists it. Needs Debian (or a relative), Python >= 3.11 and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Debian's own interpreter is built with profile-guided optimisation; others often are not
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) python3)
VENV := .venv
BIN := $(VENV)/bin
comma := ,
READY := $(VENV)/.ready
DATA := .var

# $(call package,TEST,NAME,PURPOSE): install the Debian package NAME unless the command TEST succeeds.
define package
@$(1) >/dev/null 2>&1 && exit 0; \
say() { echo "x700 needs $(2) ($(3)), which is not installed, $$1. As root: apt-get install $(2)" >&2; exit 1; }; \
root=(); \
command -v apt-get >/dev/null || say "and this system has no apt-get"; \
if [ "$$(id -u)" != 0 ]; then command -v sudo >/dev/null || say "and you are neither root nor have sudo"; root=(sudo); fi; \
echo "installing $(2): $(3)"; \
"$${root[@]}" apt-get update -qq || say "and apt-get update failed"; \
"$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) \
	|| say "and apt-get could not install it"
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## virtual environment with the locked dependencies and x700 itself

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "x700 needs Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	$(call package,$(PYTHON) -c 'import ensurepip',python3-venv,virtual environments)
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: sip-tester
sip-tester:
	$(call package,command -v sipp,sip-tester,the SIP endpoints of demo and tests)

# Debian starts Kamailio's own service where it can; the tests start theirs on addresses of their own beside it.
.PHONY: far-ends
far-ends:
	$(call package,command -v kamailio,kamailio,a carrier's proxy in tests)
	$(call package,ls /usr/lib/*/kamailio/modules/tls.so,kamailio-tls-modules,TLS of that proxy)
	$(call package,command -v baresip,baresip-core,a telephone in tests)

.PHONY: sipvicious
sipvicious:
	$(call package,command -v svmap,sipvicious,the scanners that the tests send against the switch)

.PHONY: demo
demo: setup sip-tester ## set up, then a masked call in both directions: what each party saw, and the records
	@$(BIN)/x700 demo

.PHONY: fast
fast: setup ## compile the protocol and call control with mypyc: the same source, about a third less CPU
	$(call package,command -v gcc,gcc,the C compiler)
	$(call package,$(BIN)/python -c 'import os$(comma) sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")',python3-dev,the headers of Python)
	@echo "compiling, about two minutes"
	@$(BIN)/python -m b2bua.app.compiled build

.PHONY: slow
slow: setup ## undo make fast: the tests look into the source
	@$(BIN)/python -m b2bua.app.compiled clean

.PHONY: run
run: setup ## switch, recorder and API in the foreground with configs/x700.toml, data in .var
	@$(BIN)/x700 keygen --if-missing $(DATA)/keyring >/dev/null
	@echo "in another shell: export X700_CONFIG=$(CURDIR)/configs/x700.toml X700_DATA_DIR=$(CURDIR)/$(DATA)"
	@X700_DATA_DIR=$(DATA) X700_LOG_FORMAT=$${X700_LOG_FORMAT:-console} exec $(BIN)/x700 run --config configs/x700.toml

.PHONY: test
test: slow sip-tester far-ends sipvicious ## every test, the SIPp scenarios among them, with branch coverage
	@$(BIN)/python -m pytest --cov --cov-report=term

.PHONY: check
check: setup ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@MYPYPATH=sipp-scenarios $(BIN)/mypy --strict sipp-scenarios/run.py

.PHONY: sipp
sipp: setup sip-tester ## the SIPp scenarios against a fresh switch; SCENARIO="busy no_answer" runs some
	@$(BIN)/python sipp-scenarios/run.py $(SCENARIO)

.PHONY: interop
interop: slow far-ends ## Kamailio, pjsua2 and baresip against the switch, over every transport; refreshes the README
	@$(BIN)/python -m pytest tests/interop --all-far-ends --ignore tests/interop/test_results.py
	@$(BIN)/python -m tests.interop.results

.PHONY: soak
soak: setup ## 2000 calls held for ten minutes, with churn and loss; SOAK_SECONDS=60 is a short form with fewer calls
	@$(BIN)/python -m tests.soak $(if $(SOAK_SECONDS),--seconds $(SOAK_SECONDS))

.PHONY: bench
bench: fast sip-tester ## calls per second, CPU per call, set-up delay, memory per call
	@$(BIN)/python -m tests.bench

.PHONY: fuzz
fuzz: setup ## rubbish and near-misses, a minute against each parser; FUZZ_SECONDS=600 goes on longer, FUZZ_SEED=1 repeats
	@$(BIN)/python -m tests.fuzz $(if $(FUZZ_SECONDS),--seconds $(FUZZ_SECONDS)) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

.PHONY: clean
clean: ## remove the virtual environment and caches; .var with its keys and records stays
	rm -rf $(VENV) *.egg-info build b2bua/*/*.so routing/*.so routing/*/*.so cdr/*.so cdr/*/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
