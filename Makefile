# `make demo` and `make test` set everything up first.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
export PATH := $(CURDIR)/$(BIN);$(PATH)
else
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
endif

.PHONY: setup demo test test-all bench docs release-check lint mypy basedpyright generate requirements
.DELETE_ON_ERROR:

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# An environment of its own, so that a first look needs little time and room.
DEMO := .demo-venv/$(notdir $(BIN))
DEMO_PATH := wrapper$(if $(filter Windows_NT,$(OS)),;,:)generated

demo: .demo-venv/.ready
	PYTHONPATH="$(DEMO_PATH)" $(DEMO)/python -m duomi demo

.demo-venv/.ready: requirements/demo.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	@echo "Setting up .demo-venv, once: about 6 MB from the package index, 25 MB on disk."
	@test -x $(DEMO)/python || $(PYTHON) -m venv --without-pip .demo-venv
	@$(PYTHON) -m pip --python $(DEMO)/python install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/demo.txt
	@touch $@

lint: setup
	./generate.sh --check
	python -m contract check
	PYTHONPATH=wrapper:generated:. lint-imports --no-logo
	deptry wrapper generated
	ruff check .
	ruff format --check .
	$(MAKE) --no-print-directory --jobs 2 mypy basedpyright

mypy basedpyright: setup
	$@

ifeq ($(OS),Windows_NT)
# The maintainer's tools do not run there (bash, signals, terminals), so only the package's own tests do. Not tried yet.
test: setup
	nox -s promises
else
test: lint
	python -m pytest -q -n 4
endif

# All tests, and the branch coverage of the hand-written code.
test-all: setup
	coverage erase
	coverage run -m pytest -q -n 3 -m ''
	coverage combine --quiet
	coverage report

# The checks before a release: the same bytes twice, metadata, changelog, and each Python with the lowest and the newest dependencies.
release-check: setup
	PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd: -)" nox

bench: .bench-venv/.ready
	.bench-venv/bin/python benchmarks/all.py

# The peers have their own environment, so that their dependencies do not affect ours.
.bench-venv/.ready: requirements/bench.txt pyproject.toml
	test -x .bench-venv/bin/python || $(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# The site, in site/; `python docs/screens.py` redraws its screens.
docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

generate: setup
	./generate.sh

# Compiles the pinned requirements, without index URLs.
requirements: setup
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  -o requirements/dev.txt requirements/dev.in
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  -o requirements/bench.txt requirements/bench.in
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  -o requirements/demo.txt requirements/demo.in
