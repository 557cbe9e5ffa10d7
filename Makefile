# make demo      two mail servers, real switches, two takeovers, one table at the end
# make test      every check and every test
# make test-python VERSION=3.12    the tests that need neither root nor switches, on that Python
# make thorough  the tests that take hours, and nothing else
# make clean     remove what a killed run left behind

.PHONY: help demo test test-python thorough lint clean prepare
.DEFAULT_GOAL := help

BIN := .venv/bin

# Some machines say that Python shall keep no bytecode; a hundred controllers start in the tests.
export PYTHONDONTWRITEBYTECODE :=

help:
	@sed -n 's/^# make/make/p' Makefile

prepare:
	@tools/prepare.sh

demo: prepare
	$(BIN)/python -m mininet_lab run demo

lint: prepare
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What needs neither root nor real switches runs as three processes, because many tests wait. The
# rest shares the machine with nobody, because it measures; it runs whatever the first part said.
test: lint
	@status=0; \
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not integration' </dev/null || status=$$?; \
	$(BIN)/python -m pytest -m integration </dev/null || status=$$?; \
	exit $$status

# An environment of its own for each version; pyenv's interpreters need not be on PATH.
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)
INTERPRETERS = python$(VERSION) $(wildcard $(PYENV)/versions/$(VERSION).*/bin/python$(VERSION))

test-python:
	@test -n '$(VERSION)' || { echo 'which one? make test-python VERSION=3.12' >&2; exit 2; }
	@PYTHON='$(INTERPRETERS)' tools/prepare.sh .venv-$(VERSION)
	@.venv-$(VERSION)/bin/python -m pytest -n 3 --dist worksteal -m 'not integration' </dev/null

thorough: prepare
	$(BIN)/python -m pytest -m thorough --thorough --timeout=0 </dev/null

clean: prepare
	$(BIN)/python -m mininet_lab clean
