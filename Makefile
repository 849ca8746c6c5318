# make demo: set everything up and run the main job; make test: set everything up and pass the tests.
# Needs Python 3.10 to 3.13 with pip or venv, and a package index; uv is fetched when it is missing.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
PINS := packaging/constraints.txt
GROUPS := --group detectron2 --group demo --group dev
RUN := .venv/bin

.PHONY: demo test lint format types pins clean

demo: .venv/.synced
	$(RUN)/python -m examples.demo

test: .venv/.synced lint types
	OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 --dist loadfile --cov=keyfpn.protocol --cov-fail-under=100

lint: .venv/.synced
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

format: .venv/.synced
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

types: .venv/.synced
	$(RUN)/mypy

.venv/.synced: pyproject.toml $(PINS) $(shell find packaging -name '*.py' -o -name '*.toml') | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip install --python .venv --exact -c $(PINS) -b $(PINS) --editable '.[all]' $(GROUPS)
	@touch $@

# Writes down the exact versions for all Pythons. Those that stand there stay; UPGRADE=--upgrade takes later ones.
pins: | $(UV)
	$(UV) pip compile --quiet pyproject.toml --extra all $(GROUPS) --universal --python-version 3.10 \
		--fork-strategy fewest --no-annotate --custom-compile-command 'make pins' $(UPGRADE) -o $(PINS)

.uv/bin/uv:
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then python=$(PYTHON); \
	elif $(PYTHON) -m venv .uv/python; then python=.uv/python/bin/python; \
	else echo "$(PYTHON) has no pip: install uv, or name a Python that has it: make PYTHON=/usr/bin/python3"; exit 1; fi; \
	$$python -m pip install --quiet --disable-pip-version-check --target .uv uv==$(UV_VERSION)

clean:
	rm -rf .venv .uv
