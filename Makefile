# Two commands: `make play` and `make test`. Each sets itself up in .venv and can be run again at any time.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Its Python asks for an old numpy and gym, and no extra can say --no-deps; only its library is used here, and gym3's
# door to it. No wheel for Python 3.13: there the tests of coinrun are skipped.
PROCGEN := procgen-mirror==0.10.7 gym3==0.3.3

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
	-$(BIN)/pip install --no-deps $(PROCGEN)
	touch $@

clean:
	rm -rf .venv
