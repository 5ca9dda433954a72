# Two commands: `make play` and `make test`. Each sets itself up in .venv and can be run again at any time.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: play test clean

play: .venv/play
	$(BIN)/python play.py $(ARGS)

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

.venv/play: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -e .
	touch $@

.venv/test: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[dev,games]"
	touch $@

clean:
	rm -rf .venv
