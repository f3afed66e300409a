# Every command a user or CI needs. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?=
BENCH ?=
TEST ?=
PROVE ?=

.DEFAULT_GOAL := help
.PHONY: help install demo prove test check format bench lock clean

help: ## list these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit(f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}: run  make PYTHON=python3.12")'
	@echo "installing into $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(STAMP) ## create .venv with the locked dependencies and the bems command

demo: $(STAMP) ## one whole cell on this machine (DEMO="--help" lists the options)
	@$(BIN)/bems demo $(DEMO)

prove: $(STAMP) ## break a cell of three brokers under load, and show that nothing is lost (PROVE="--minutes 2 --seed 7")
	@$(BIN)/bems prove $(PROVE)

test: $(STAMP) ## every test tier; says which tiers ran (TEST="tests/unit" for a part)
	@$(BIN)/python -m pytest $(TEST)

check: $(STAMP) ## format, lint, types, import contracts, sizes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@git ls-files -z -- 'bems_streams/*.py' 'agents/*.py' | xargs -0 wc -l | awk '$$2 != "total" && $$1 > 300 {print $$2 ": " $$1 " lines, split it (300 at most)"; bad = 1} END {exit bad}'

format: $(STAMP) ## let ruff rewrite the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure this machine (BENCH="--quick --json FILE")
	@$(BIN)/python -m benchmarks $(BENCH)

lock: $(STAMP) ## pin the dependencies anew, with hashes
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --upgrade pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --upgrade pyproject.toml --group dev -o requirements-dev.lock

clean: ## remove the environment, caches and the demo cell's data (asks nothing)
	rm -rf $(VENV) .bems .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build bench-results
