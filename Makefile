# What there is to run. `make help` lists it.
python := .venv/bin/python
compile := .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate
.DEFAULT_GOAL := help
.PHONY: help setup demo test lock quick pythons check lint formatted types layers pages format bench bench-fit bench-schedule bench-packing bench-memory bench-agent bench-watch bench-overhead bench-pages oracle survive machine docs deb

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

check: lint formatted types layers pages ## ruff, mypy, import-linter and the tests of the docs; `make -k check` goes on after a failure

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

bench: ## every benchmark, to the end; fails when one misses its budget. The best part of an hour
	@$(MAKE) --keep-going --jobs=1 bench-fit bench-schedule bench-packing bench-memory bench-agent bench-watch bench-overhead bench-pages oracle

bench-fit: .venv/pinfold-stamp ## the engine beside Nova's own; writes docs/benchmarks/fit.md
	$(python) -m benchmarks.fit.run

bench-schedule: .venv/pinfold-stamp ## decisions and creates per second; writes docs/benchmarks/schedule.md
	$(python) -m benchmarks.schedule.run

bench-packing: .venv/pinfold-stamp ## production traces placed until nothing fits, by pinfold and by plain rules; writes docs/benchmarks/packing.md
	$(python) -m benchmarks.packing.run

bench-memory: .venv/pinfold-stamp ## the API's memory with 1,000 hosts; writes docs/benchmarks/memory.md
	$(python) -m benchmarks.memory.run

bench-agent: .venv/pinfold-stamp ## starts beside virsh create, a sweep over 100 guests, the agent's memory; writes docs/benchmarks/agent.md
	$(python) -m benchmarks.agent.run

bench-watch: .venv/pinfold-stamp ## what pinfold watch costs beside 100 guests; writes docs/benchmarks/watch.md
	$(python) -m benchmarks.watch.run

bench-overhead: .venv/pinfold-stamp ## how overhead threads wait on a busy pCPU; writes docs/benchmarks/overhead.md
	$(python) -m benchmarks.overhead.run

bench-pages: .venv/pinfold-stamp ## the web page with 1,000 hosts in a browser; writes docs/benchmarks/pages.md
	$(python) -m benchmarks.pages.run

oracle: .venv/pinfold-stamp ## 100,000 random cases against the oracle; writes docs/benchmarks/oracle.md
	$(python) -m tests.oracle.run --cases 100000 --report docs/benchmarks/oracle.md

survive: .venv/pinfold-stamp ## a fleet of real processes, each killed at every named point, and 300 creates at once; half an hour
	$(python) -m pytest -n 0 -rA --durations=0 tests/survive tests/real/fleet/test_survival.py tests/real/fleet/test_clocks.py tests/real/fleet/test_survival_matrix.py tests/real/fleet/test_crowd.py

machine: ## a Debian machine of its own with systemd, cgroup v2, huge pages and real time; as root, up to two hours where it is emulated
	@tests/machine/run.sh

lock: .venv/pinfold-stamp ## pin the dependencies anew: development first, the other two agree with it
	$(compile) --extra fleet --extra ui --group dev -o requirements-dev.lock pyproject.toml
	$(compile) --extra fleet --extra ui --group build -c requirements-dev.lock -o requirements-service.lock pyproject.toml
	$(compile) --extra agent --group build -c requirements-dev.lock -o requirements.lock pyproject.toml

docs: .venv/pinfold-stamp ## rewrite what the reference takes from the code
	$(python) -m docs.generate

deb: .venv/pinfold-stamp ## a Debian package for this machine's release, in dist/; REVISION=2 for a rebuild of the same version
	@$(python) -m deb.build --revision $(or $(REVISION),1)

.venv/pinfold-stamp: requirements-dev.lock pyproject.toml
	@bin/setup --tests
