# Everything below stays in this folder: .venv (the programs) and var (the data of `make run`).
# All paths are relative, so that the folder's name may contain spaces.
PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check --no-deps
# Only what the lock files name is installed, if its hash is right. A wheel runs no code when it is installed.
LOCKED = $(PIP) --require-hashes --only-binary :all: --requirement

# `make run PAYMENT_GATEWAY=stripe` needs Stripe's library as well.
STRIPE = $(if $(filter stripe,$(PAYMENT_GATEWAY)),.venv/.installed-stripe)

.DEFAULT_GOAL := help
.PHONY: help install install-test run demo check audit attention reconcile keys reset test model mutants chaos bench screenshots lint types lock security clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

install: .venv/.installed  ## make .venv with everything that `make run` and `make demo` need
	@:

install-test: .venv/.installed-test  ## add what the tests and checks need
	@:

run: install $(STRIPE)  ## start everything on this machine, until Ctrl-C (PORT=9000 make run: on other ports)
	@.venv/bin/python -m local run

demo: install  ## show what the running system does, step by step
	@.venv/bin/python -m local demo

check: install  ## check the database and the settings for anything that would break a promise
	@.venv/bin/python -m local check $(ARGS)

audit: install  ## check that the books agree, at any moment (make audit ARGS="--format json")
	@.venv/bin/python -m local audit $(ARGS)

attention: install  ## list the orders that need a person (make attention ARGS="retry ID": retry one)
	@.venv/bin/python -m local attention $(ARGS)

reconcile: install  ## compare our books with the gateway's (make reconcile ARGS="--from 2027-01-31")
	@.venv/bin/python -m local reconcile $(ARGS)

keys: install  ## list the API keys of clients (make keys ARGS="create shop": make one)
	@.venv/bin/python -m local keys $(or $(ARGS),list)

reset: install  ## delete all orders and products of `make run`, after asking (YES=1: without asking)
	@.venv/bin/python -m local reset $(if $(YES),--yes)

test: install-test  ## run the tests (make test ARGS="-k saga -x")
	@.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

model: install-test  ## explore every interleaving of the protocol (make model ARGS="--planted all": see errors found)
	@.venv/bin/python -m tests.model $(ARGS)

mutants: install-test  ## remove each protection in turn and check that a test fails (ONLY=fence-*: these)
	@.venv/bin/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)") $(ARGS)

chaos: install-test  ## place, cancel and refund orders while everything fails (make chaos ORDERS=10000 SEED=7; see docs/chaos.md)
	@.venv/bin/python -m tests.chaos

bench: .venv/.installed-bench  ## compare the speed with that of its peers (make bench ARGS="--short"; see benchmarks/README.md)
	@.venv/bin/python -m benchmarks $(if $(BASE),--base "$(BASE)") $(ARGS)

screenshots: install-test  ## take the pictures of docs/console.md from `make run`, which must be running
	@.venv/bin/python -m tests.browser.docs_pictures $(ARGS)

lint: install-test  ## check the style
	@.venv/bin/ruff check .

types: install-test  ## check the types
	@.venv/bin/mypy $(if $(NO_COLOR),--no-color-output)

lock: .venv/.installed-tools  ## write the lock files again (make lock ARGS=--upgrade: with the newest versions)
	@.venv/tools/bin/python -m supply_chain.lock $(ARGS)
	@rm -rf *.egg-info holdfast_client/*.egg-info

security: install-test .venv/.installed-tools  ## look for known vulnerabilities, unsafe code and secrets; write the SBOM
	@.venv/tools/bin/python -m supply_chain $(ARGS)

clean:  ## remove everything that was made, except the data in var
	rm -rf .venv build *.egg-info holdfast_client/build holdfast_client/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment contains its own path. A folder that was moved or copied needs a new one.
ifneq ($(shell cat .venv/.installed 2>/dev/null || pwd -P),$(shell pwd -P))
$(shell rm -rf .venv)
endif

# The stamp comes last, so that an interrupted installation is repeated. The builds leave *.egg-info behind, and
# .venv has its own copies.
.venv/.installed: setup.cfg pyproject.toml holdfast_client/pyproject.toml locked/local.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -I local/python_build.py $(PYTHON)
	@echo "installing into .venv; the first time takes about a minute"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(LOCKED) locked/local.txt
	@.venv/bin/python $(PIP) --no-index --no-build-isolation --editable ./holdfast_client --editable .
	@rm -rf *.egg-info holdfast_client/*.egg-info
	@pwd -P > $@

.venv/.installed-test: .venv/.installed locked/test.txt
	@.venv/bin/python $(LOCKED) locked/test.txt
	@touch $@

.venv/.installed-stripe: .venv/.installed locked/stripe.txt
	@.venv/bin/python $(LOCKED) locked/stripe.txt
	@touch $@

.venv/.installed-bench: .venv/.installed locked/bench.txt
	@.venv/bin/python $(LOCKED) locked/bench.txt
	@touch $@

.venv/.installed-tools: .venv/.installed locked/tools.txt
	@.venv/bin/python -m venv .venv/tools
	@.venv/tools/bin/python $(LOCKED) locked/tools.txt
	@touch $@
