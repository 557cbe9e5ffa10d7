# make demo      two mail servers, real switches, two takeovers, one table at the end
# make test      every check and every test
# make thorough  the tests that take hours, and nothing else
# make clean     remove what a killed run left behind

.PHONY: help demo test thorough lint clean prepare
.DEFAULT_GOAL := help

BIN := .venv/bin

help:
	@sed -n 's/^# //p' Makefile

prepare:
	@tools/prepare.sh

demo: prepare
	$(BIN)/python -m mininet_lab run demo

lint: prepare
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest </dev/null

thorough: prepare
	$(BIN)/python -m pytest -m thorough --thorough --timeout=0 </dev/null

clean: prepare
	$(BIN)/python -m mininet_lab clean
