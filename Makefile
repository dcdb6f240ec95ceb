# Everything that is done to this repository; needs Python 3.9 or newer and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := --quiet --disable-pip-version-check
PACKAGES := pip install $(QUIET)
JOBS ?= 3

.PHONY: demo test check lint types proof chaos bench matrix pages wheelhouse deb packages picture clean

demo: $(VENV)/demo.stamp ## show the service at work against a simulated SQreamDB; SECONDS=N ends it after N seconds
	$(BIN)/sqmon demo $(if $(SECONDS),--seconds $(SECONDS))

test: $(VENV)/dev.stamp ## run the tests, JOBS at a time: most of them wait for processes
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

check: lint types ## formatting, lint, types (layers and docs are tests)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

proof: $(VENV)/dev.stamp ## a thousand random schedules of kills, full disks, outages and restarts, SCHEDULES=N for more or fewer; a million SQL texts, TEXTS=N
	$(BIN)/python -m tests.support.proof $(if $(SCHEDULES),--schedules $(SCHEDULES))
	$(BIN)/python -m tests.support.sql_texts $(if $(TEXTS),--texts $(TEXTS))

chaos: $(VENV)/dev.stamp ## half an hour of faults of every kind at once; SECONDS=N for more or less, SEED=N for another course
	$(BIN)/python -m tests.support.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/bench.stamp ## every benchmark, figures and ratios; RIVAL=DIRECTORY is another checkout to be measured beside this one
	$(BIN)/python -m benchmarks.emit
	$(BIN)/python -m benchmarks.single_file
	$(BIN)/python -m benchmarks.big_poll
	$(BIN)/python -m benchmarks.many_metrics
	$(BIN)/python -m benchmarks.read
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.carry
	$(BIN)/python -m benchmarks.memory $(if $(RIVAL),--rival $(RIVAL))
	$(BIN)/python -m benchmarks.summary

matrix: ## the contract tests with every supported Python, the oldest dependencies and the newest pysqream
	tests/matrix.sh $(PYTHONS)

pages: $(VENV)/dev.stamp ## the man pages, the completions of the shells and lnav's formats, after a change of commands, options or columns
	$(BIN)/python -m packages

wheelhouse: | $(VENV)/bin/python ## dist/wheelhouse: sqmon and all that it needs, for hosts of this kind that reach no package index
	rm -rf dist/wheelhouse
	$(BIN)/pip wheel $(QUIET) --no-deps --wheel-dir dist/wheelhouse .
	$(BIN)/pip download $(QUIET) --no-deps --only-binary :all: --dest dist/wheelhouse --requirement config_files/requirements.txt
	cp config_files/requirements.txt dist/wheelhouse/

deb: | $(VENV)/bin/python ## dist/*.deb: a Debian package for this release of Debian and this architecture
	mkdir -p dist && rm -f dist/sqmon-*.whl dist/sqmon_*.deb
	$(BIN)/pip wheel $(QUIET) --no-deps --wheel-dir dist .
	PIP=$(BIN)/pip packages/debian/build dist/sqmon-*.whl dist

packages: deb ## the Debian package, seen by lintian, then installed, run, removed and purged in an overlay of this host's root; as root
	if command -v lintian; then lintian --allow-root --fail-on error dist/*.deb; fi
	packages/debian/try dist/*.deb

picture: $(VENV)/demo.stamp ## the picture of the live view in the README, from a demo run of SECONDS
	$(BIN)/python docs/picture.py $(if $(SECONDS),--seconds $(SECONDS)) docs/live.svg

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis sqmon-demo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: setup.cfg | $(VENV)/bin/python
	$(BIN)/$(PACKAGES) --editable .
	touch $@

$(VENV)/bench.stamp: setup.cfg $(VENV)/dev.stamp
	$(BIN)/$(PACKAGES) --editable '.[bench]'
	touch $@

$(VENV)/dev.stamp: setup.cfg | $(VENV)/bin/python
	$(BIN)/$(PACKAGES) --editable '.[dev]'
	touch $@
