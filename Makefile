# make demo: set everything up and run the main job; make test: set everything up and pass the tests.
# Needs Python >= 3.10 with pip, and a package index; uv is fetched when it is missing.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
RUN := .venv/bin

.PHONY: demo test lint format types proto clean

demo: .venv/.synced
	$(RUN)/python -m examples.demo

test: .venv/.synced lint types
	$(RUN)/pytest --cov=keyfpn.protocol --cov-fail-under=100

lint: .venv/.synced
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

format: .venv/.synced
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

types: .venv/.synced
	$(RUN)/mypy

.venv/.synced: pyproject.toml $(shell find packaging -name '*.py' -o -name '*.toml') | $(UV)
	$(UV) sync --python $(PYTHON)
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv==$(UV_VERSION)

clean:
	rm -rf .venv .uv uv.lock
