# datarail: Linux, make and a Python are all it takes; everything else is installed into this folder.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install up down test check bench bench-peers clean

# The first of these that is new enough and complete; `make PYTHON=/path/to/python3.12 up` names another.
CANDIDATES := python3 python3.13 python3.12 python3.14 python3.11
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in $(CANDIDATES); do $$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)
endif

BIN := .venv/bin
STAMP := .venv/.installed

help:
	@echo 'make up      install what is missing, start the line, leave it running'
	@echo 'make down    stop it, every process of it'
	@echo 'make test    check, then every test on the real servers'
	@echo 'make check   ruff, mypy, import-linter'
	@echo 'make bench   measure the line at full speed, write build/bench.json'
	@echo 'make bench-peers   Debezium, and a plain line, on the same table, build/bench-peers.json'
	@echo 'make clean   down, then remove all that was installed or written here'

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(or $(PYTHON),python3) -c '$(USABLE)' 2>/dev/null || { \
	  echo 'datarail needs Python 3.11 to 3.14 with its venv module: install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12 up' >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo 'Python: creating .venv …' >&2; rm -rf .venv && $(PYTHON) -m venv .venv; }
	@echo 'Python packages: installing what requirements.lock lists (350 MB at the first time) …' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

up: install
	@$(BIN)/datarail up

# Works in a half-installed folder too: then there is nothing to stop.
down:
	@if test -x $(BIN)/datarail; then $(BIN)/datarail down; fi

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Two files at a time, each process with servers of its own: most of a test is waiting for them.
test: check
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: install
	@$(BIN)/python -m bench

bench-peers: install
	@$(BIN)/python -m bench.peers

clean:
	@if test -x $(BIN)/python && test -d .datarail; then $(BIN)/python -m deploy clean; fi
	rm -rf .datarail build .venv
