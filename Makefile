# Everything works from a fresh clone: each target first makes .venv when it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SITE := .venv/.site
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --constraint constraints.txt
# Most tests wait for a server or a process now and then: two at a time use what one leaves.
TWO := --numprocesses 2 --dist loadfile
# Where a test hangs so that not even its own limit ends it, its process shows where, and ends: the run fails in minutes.
NO_HANG := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true --max-worker-restart 0

# Nothing that is run from here reports to anybody.
export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
# Where a company's proxy signs with its own authority, the system knows that one, and uv's list does not.
export UV_SYSTEM_CERTS := true
# Containers and CI machines often set this: each process would then compile all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE
# A machine that is busy or slow needs longer than Prefect's 20 seconds to start its temporary server.
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test test-all test-airflow lint type check oldest compat bench soak docs pictures lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install everything from constraints.txt

demo: $(READY) ## train on real data, tracked: runs flows/train.py and says where to look
	@$(BIN)/python flows/train.py
	@$(BIN)/flowml show training

test: lint type oldest $(SITE) ## all that must hold for a change: style, types, house rules, tests (not the slow ones), the site
	@$(BIN)/python -m pytest $(TWO) $(NO_HANG) -m "not slow and not soak"

test-all: lint type oldest $(SITE) ## the same with the slow tests
	@$(BIN)/python -m pytest $(TWO) -m "not soak"

check: lint $(READY) ## the quick part of it, for each commit
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -m "not slow and not e2e and not soak"

lint: $(READY) ## style, formatting, and which module may import which
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --config pyproject.toml --no-cache
	@$(BIN)/deptry src

type: $(READY) ## types: mypy on the source and on tests/typing, pyright on tests/typing
	@$(BIN)/mypy
	@$(BIN)/pyright

oldest: $(READY) ## the tests of what flowml relies on, with the oldest Prefect and MLflow that it admits
	@$(BIN)/python tools/compat.py oldest

compat: $(READY) ## the quick tests on each Python of this machine, and on the oldest and newest libraries admitted
	@$(BIN)/python tools/compat.py

# Airflow's newest 2.11 takes what was there when it was made: it bounds little itself.
test-airflow: $(READY) ## minutes: integrations/airflow under real schedulers, Airflow 2.11 and 3 in environments of their own
	@for one in "2 apache-airflow==2.11.0 --exclude-newer=2025-06-15" "3 apache-airflow>=3,<4"; do \
		set -- $$one; here=build/airflow$$1/bin/python; shift; \
		test -x $$here || $(BIN)/uv venv --quiet --python $(BIN)/python $${here%/bin/python} || exit 1; \
		$(BIN)/uv pip install --quiet --python $$here pytest "$$@" || exit 1; \
		$(BIN)/uv pip install --quiet --python $$here --no-deps --editable integrations/airflow || exit 1; \
		$$here -W ignore -m pytest -q -p no:cacheprovider --rootdir integrations/airflow integrations/airflow/tests || exit 1; \
	done

bench: $(READY) ## what tracking costs, against bare Prefect and hand-written tracking, side by side
	@$(BIN)/python benchmarks/all.py

soak: $(READY) ## hours: 2,000 mapped tasks, 20,000 while MLflow fails, 1,000 killed programs: what is logged, and the memory
	@$(BIN)/python -m pytest -m soak -s

docs: $(SITE) ## check that what the pages and the README say is true, and build the site into build/site
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/pages tests/test_settings.py tests/describe/test_page.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "The site is build/site/index.html"

pictures: $(READY) ## make the pictures of the pages anew, from a real run in Chromium
	@$(BIN)/python tools/pictures.py

lock: $(READY) ## bring constraints.txt up to the newest versions that pyproject.toml admits
	@$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 --all-extras --group dev --group docs \
		--no-emit-index-url --no-annotate --no-header --output-file constraints.txt pyproject.toml

clean: ## remove .venv, caches and builds; .flowml, where your runs are, stays
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs in seconds what takes pip minutes; where it cannot, pip does the same. Both compile what they install.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
		echo "flowml needs Python 3.10 to 3.13, which '$(PYTHON)' is not. Name another: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv (a minute or two, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@{ $(PIP) $(LOCKED) uv && VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode $(LOCKED) --editable . --group dev; } || { \
		$(PIP) --upgrade pip && $(PIP) $(LOCKED) --editable . --group dev; }
	@touch $@

# What builds the site is of no use to the rest, and installed when the site is first built.
$(SITE): $(READY)
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode $(LOCKED) --group docs || { \
		$(PIP) --upgrade pip && $(PIP) $(LOCKED) --group docs; }
	@touch $@
