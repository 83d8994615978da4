# Everything below lives in this folder: .venv (the programs) and var (the data of `make run`).
# Only relative paths are used, so that a space in the folder's name does no harm.
PYTHON ?= python3
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable

.DEFAULT_GOAL := help
.PHONY: help install install-test run demo audit attention test mutants chaos bench lint types clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

install: .venv/.installed  ## make .venv, with all that `make run` and `make demo` need
	@:

install-test: .venv/.installed-test  ## add what the tests and checks need
	@:

run: install  ## start everything on this machine, until Ctrl-C (PORT=9000 make run: on other ports)
	@.venv/bin/python -m local run

demo: install  ## show what the running system does, step by step
	@.venv/bin/python -m local demo

audit: install  ## check that the books agree, at any moment (make audit ARGS="--format json")
	@.venv/bin/python -m local audit $(ARGS)

attention: install  ## list the orders that need a person (make attention ARGS="retry ID": try one again)
	@.venv/bin/python -m local attention $(ARGS)

test: install-test  ## run the tests (make test ARGS="-k saga -x")
	@.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

mutants: install-test  ## take each protection out in turn and see which test misses it (ONLY=fence-*: these)
	@.venv/bin/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)") $(ARGS)

chaos: install-test  ## orders in a storm of faults (make chaos ORDERS=10000 SEED=7; see docs/chaos.md)
	@.venv/bin/python -m tests.chaos

bench: .venv/.installed-bench  ## how fast it is, beside its peers (make bench ARGS="--short"; see benchmarks/README.md)
	@.venv/bin/python -m benchmarks $(if $(BASE),--base "$(BASE)") $(ARGS)

lint: install-test  ## check the style
	@.venv/bin/ruff check .

types: install-test  ## check the types
	@.venv/bin/mypy

clean:  ## remove all that was made, except the data in var
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment holds its own path. Where the folder was moved or copied, it is made anew.
ifneq ($(shell cat .venv/.installed 2>/dev/null || pwd -P),$(shell pwd -P))
$(shell rm -rf .venv)
endif

# The stamps come last, so that an interrupted install is not taken for a whole one.
.venv/.installed: setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: name another, as in PYTHON=python3.12 make install" % sys.version_info[:2] or 0)'
	@echo "installing into .venv; the first time takes about a minute"
	@$(PYTHON) -m venv .venv
	@$(PIP_INSTALL) '.[local]'
	@rm -rf holdfast.egg-info # left by the build; .venv has its own copy
	@pwd -P > $@

.venv/.installed-test: .venv/.installed
	@$(PIP_INSTALL) '.[test]'
	@rm -rf holdfast.egg-info
	@touch $@

.venv/.installed-bench: .venv/.installed
	@$(PIP_INSTALL) '.[bench]'
	@rm -rf holdfast.egg-info
	@touch $@
