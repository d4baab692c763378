PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup check test soak attack demo clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,train]'
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest -q -n 6 -m process tests/gate
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not process"

soak: setup
	MASK_GATE_SOAK_JSON=soak.json $(BIN)/python -m pytest -q -s -m soak
	$(BIN)/python tests/soak/write_table.py soak.json

# Attacks on the door, in half an hour at most; `make attack SHARE=0.1` takes four minutes.
SHARE ?= 0.7
attack: setup
	MASK_GATE_SOAK=$(SHARE) MASK_GATE_SOAK_JSON=attack.json timeout --signal=INT 1800 \
		$(BIN)/python -m pytest -q -m soak tests/soak/attack
	$(BIN)/python tests/soak/write_table.py attack.json --print

demo: setup
	$(BIN)/mask-gate --camera demo

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
