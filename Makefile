# What people and CI run. Each target does its own set-up, below `target/`; a clean clone stays clean.
#
#   make demo    the demo site with notebooks          LISTEN=127.0.0.1:8123 make demo
#   make test    everything that must pass before a change is merged
#   make check   formatting, lints, types

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
LISTEN ?= 127.0.0.1:8000
SECONDS_OF_FUZZING ?= 60

VENVS := target/venvs
TEST := $(VENVS)/test
TOOLS := $(VENVS)/tools
WHEEL := $(VENVS)/wheel
DRIVERS := $(VENVS)/drivers
PIP := bin/python -m pip install --quiet --disable-pip-version-check

# Tests compare what they read with what is committed; they never write it.
export INSTA_UPDATE ?= no

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

.PHONY: demo
demo: program
	@# What an older tree put there goes; what the site made itself stays.
	@if [ -d target/demo ]; then \
	  find target/demo -mindepth 1 -maxdepth 1 ! -name var ! -name .venv -exec rm -rf {} +; \
	fi
	@exec target/release/perijove demo --listen $(LISTEN) --folder target/demo --python "$$(command -v $(PYTHON))"

# --- building ---------------------------------------------------------------------------------------

.PHONY: program
program: worker
	cargo build --release --locked --package perijove

# Renamed into place: a running worker keeps the file it has.
.PHONY: worker
worker: needs-build
	cargo build --release --locked --package perijove-worker
	cp "$$(ls target/release/libperijove_worker.{so,dylib} 2>/dev/null | head -n 1)" python/perijove/.worker.new
	mv -f python/perijove/.worker.new python/perijove/_worker.abi3.so

.PHONY: wheel
wheel: needs-build $(TOOLS)/ready
	rm -rf dist
	$(TOOLS)/bin/python python/build/perijove_build.py
	@# A target folder of its own: maturin's settings make cargo build pyo3 anew, each time they change.
	$(TOOLS)/bin/maturin build --release --locked --target-dir target/wheel --out dist
	$(TOOLS)/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist python/pyramid_notebook
	rm -rf python/perijove/demo
	@ls dist

# --- tests ------------------------------------------------------------------------------------------

.PHONY: test
test: needs-tests test-rust test-python test-drivers test-browser

.PHONY: test-rust
test-rust: worker $(TEST)/ready
	if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --workspace --locked; cargo test --workspace --doc --locked; \
	else cargo test --workspace --locked; fi

# The package as it is installed, not as it lies in the tree.
.PHONY: test-python
test-python: installed
	PERIJOVE_PACKAGE="$$(echo "$$PWD"/$(WHEEL)/lib/python3*/site-packages/perijove)" \
	  $(TEST)/bin/python -m pytest python/tests

.PHONY: test-browser
test-browser: installed program
	$(TEST)/bin/python -m pytest tests/install tests/examples tests/operations tests/weaknesses tests/browser \
	  tests/chaos

# Every behaviour under every driver, with the real servers.
.PHONY: test-drivers
test-drivers: program $(TEST)/ready $(DRIVERS)/ready $(TOOLS)/ready
	$(TEST)/bin/python -m pytest tests/drivers

# What was observed becomes what the document says.
.PHONY: drivers-table
drivers-table: export WRITE_DRIVERS_TABLE = 1
drivers-table: test-drivers

# The wheel has an environment to itself: a site's own, here that of the tests, needs no perijove.
.PHONY: installed
installed: wheel $(TEST)/ready
	$(PYTHON) -m venv --clear --without-pip $(WHEEL)
	$(TOOLS)/bin/python -m pip --python $(WHEEL)/bin/python install --quiet --no-deps dist/perijove-*.whl
	$(TEST)/$(PIP) --no-deps --force-reinstall dist/perijove_pyramid_notebook-*.whl

# What takes longer than a change should wait for.
.PHONY: test-all
test-all: export PERIJOVE_TEST_LONG = 1
test-all: test test-versions test-sdist chaos fuzz

# Twenty users at work while all is done to perijove that can happen to it. A failure names its seed:
# `make chaos CHAOS="--seed 7"`.
.PHONY: chaos
chaos: program needs-tests $(TEST)/ready
	$(TEST)/bin/python tests/chaos/run.py --seconds 600 --least 5 $(CHAOS)

# Whoever has no wheel for their machine builds one from the source distribution.
.PHONY: test-sdist
test-sdist: export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)
test-sdist: needs-build $(TOOLS)/ready
	rm -rf target/sdist && mkdir -p target/sdist python/perijove.data
	maturin sdist --out target/sdist
	CARGO_TARGET_DIR="$$PWD/target/wheel" $(TOOLS)/bin/python -m pip wheel --quiet --no-deps \
	  --no-build-isolation --wheel-dir target/sdist target/sdist/perijove-*.tar.gz
	$(PYTHON) -m venv --clear --without-pip target/sdist/venv
	$(TOOLS)/bin/python -m pip --python target/sdist/venv/bin/python install --quiet --no-deps target/sdist/*.whl
	tests/versions target/sdist/venv/bin/perijove

# One extension module serves every CPython from 3.10 on: with each that this machine has.
.PHONY: test-versions
test-versions: installed
	tests/versions $(WHEEL)/bin/perijove

# cargo-fuzz wants a nightly compiler; RUSTC_BOOTSTRAP lets the stable one do.
.PHONY: fuzz
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
	cd fuzz; for target in $$(cargo fuzz list); do \
	  cargo fuzz run "$$target" -- -max_total_time=$(SECONDS_OF_FUZZING); \
	done

.PHONY: bench
bench: program $(DRIVERS)/ready
	bench/setup
	target/bench/bin/python bench/run.py

# --- formatting, lints, documents -------------------------------------------------------------------

.PHONY: check
check: fmt-check lint docs-check

.PHONY: fmt
fmt: $(TOOLS)/ready
	cargo fmt --all
	$(TOOLS)/bin/ruff check --quiet --fix .
	$(TOOLS)/bin/ruff format --quiet .

.PHONY: fmt-check
fmt-check: $(TOOLS)/ready
	cargo fmt --all --check
	$(TOOLS)/bin/ruff format --check .

.PHONY: lint
lint: $(TOOLS)/ready
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(TOOLS)/bin/ruff check .
	$(TOOLS)/bin/mypy
	if command -v cargo-deny >/dev/null; then cargo deny --log-level error check bans licenses sources; fi

.PHONY: docs
docs: program
	INSTA_UPDATE=always cargo test --package perijove reference
	cargo doc --workspace --no-deps --locked

.PHONY: docs-check
docs-check:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# --- set-up -----------------------------------------------------------------------------------------

.PHONY: needs-build needs-tests
needs-build:
	@PYTHON=$(PYTHON) tests/needs build
needs-tests:
	@PYTHON=$(PYTHON) tests/needs tests

$(TEST)/ready: requirements/test.txt | needs-build
	$(PYTHON) -m venv --clear $(TEST)
	$(TEST)/$(PIP) --require-hashes --requirement requirements/test.txt
	touch $@

# All servers in one environment; root takes the system's Python, which Apache's account can read.
$(DRIVERS)/ready: requirements/drivers.txt | needs-tests
	if [ "$$(id -u)" = 0 ]; then /usr/bin/python3 -m venv --clear $(DRIVERS); \
	else $(PYTHON) -m venv --clear $(DRIVERS); fi
	$(DRIVERS)/$(PIP) --require-hashes --requirement requirements/drivers.txt
	touch $@

$(TOOLS)/ready: requirements/tools.txt | needs-build
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/$(PIP) --require-hashes --requirement requirements/tools.txt
	touch $@

# Locks the Python dependencies anew, for every Python from 3.10 on.
.PHONY: locks
locks: $(TOOLS)/ready
	for name in requirements/tools requirements/test requirements/drivers examples/pyramid-site/requirements bench/requirements; do \
	  $(TOOLS)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes \
	    --no-annotate --custom-compile-command "make locks" $$name.in --output-file $$name.txt; \
	done
