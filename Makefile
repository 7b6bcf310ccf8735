# What there is to run. `make help` lists it.
python := .venv/bin/python
compile := .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate
.DEFAULT_GOAL := help
.PHONY: help setup demo test lock quick pythons check static lint formatted types layers pages format bench bench-long bench-figures bench-compare oracle survive machine docs screens deb

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Debian packages and .venv
	@bin/setup --tests

demo: ## the policies on real guests, then a synthetic NUMA host filled until it refuses
	@bin/demo

test: ## the whole suite
	@bin/test

quick: ## the suite without real parts
	@bin/test --quick

pythons: ## the suites without real parts on the other Pythons, 3.11 to 3.13
	@bin/test-pythons

check: static pages ## ruff, mypy, import-linter and the tests of the docs; `make -k check` goes on after a failure

static: lint formatted types layers ## ruff, mypy and import-linter; continuous integration runs the tests of the docs with the others

lint: .venv/pinfold-stamp
	.venv/bin/ruff check .

formatted: .venv/pinfold-stamp
	.venv/bin/ruff format --check .

types: .venv/pinfold-stamp
	.venv/bin/mypy

layers: .venv/pinfold-stamp
	.venv/bin/lint-imports

pages: .venv/pinfold-stamp
	$(python) -m pytest -q -n 0 tests/docs

format: .venv/pinfold-stamp ## let ruff rewrite what it can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: .venv/pinfold-stamp ## every benchmark, small, about 20 minutes on 2 cores; fails when one misses its budget
	$(python) -m benchmarks.run --size small

bench-long: .venv/pinfold-stamp ## every benchmark, all of it, for the pages that are committed; hours
	$(python) -m benchmarks.run --size long

bench-%: .venv/pinfold-stamp ## one benchmark, all of it, as in `make bench-fit`; writes docs/benchmarks/fit.md
	$(python) -m benchmarks.run $* --size long

bench-figures: .venv/pinfold-stamp ## the pages and plots of docs/benchmarks anew from their raw figures, without measuring
	$(python) -m benchmarks.run --pages

bench-compare: .venv/pinfold-stamp ## this tree beside another commit in turns, as in `make bench-compare BASE=main~10 ARGS="--creates 30"`; without ARGS, decisions and fit
	$(python) -m benchmarks.compare --base $(BASE) $(ARGS)

oracle: .venv/pinfold-stamp ## 100,000 random cases against the oracle; writes docs/benchmarks/oracle.md
	$(python) -m benchmarks.run oracle --size long

survive: .venv/pinfold-stamp ## a fleet of real processes, each killed at every named point, and 300 creates at once; half an hour
	$(python) -m pytest -n 0 -rA --durations=0 tests/survive tests/real/fleet/test_survival.py tests/real/fleet/test_rebuild.py tests/real/fleet/test_networks.py tests/real/fleet/test_clocks.py tests/real/fleet/test_survival_matrix.py tests/real/fleet/test_crowd.py

machine: ## a Debian machine of its own with systemd, cgroup v2, huge pages and real time; as root, up to two hours where it is emulated
	@tests/machine/run.sh

lock: .venv/pinfold-stamp ## pin the dependencies anew: development first, the other two agree with it
	$(compile) --extra fleet --extra ui --extra keystone --group dev -o requirements-dev.lock pyproject.toml
	$(compile) --extra fleet --extra ui --extra keystone --group build -c requirements-dev.lock -o requirements-service.lock pyproject.toml
	$(compile) --extra agent --group build -c requirements-dev.lock -o requirements.lock pyproject.toml

docs: .venv/pinfold-stamp ## rewrite what the reference takes from the code
	$(python) -m docs.generate

screens: .venv/pinfold-stamp ## the pictures of the web page, of a lab fleet in Chromium; writes docs/how-to/pictures
	$(python) -m docs.screens

deb: .venv/pinfold-stamp ## a Debian package for this machine's release, in dist/; REVISION=2 for a rebuild of the same version
	@$(python) -m deb.build --revision $(or $(REVISION),1)

.venv/pinfold-stamp: requirements-dev.lock pyproject.toml
	@bin/setup --tests
