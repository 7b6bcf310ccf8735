"""`python -m benchmarks.schedule.run`: measure, write docs/benchmarks/schedule.md; status 1 on a missed budget."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.postgres import PostgreSQL, binaries

from benchmarks.page import PAGES, publish
from benchmarks.schedule import creates, decisions, report


def main() -> int:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule.run", description="Time decisions and creates.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--creates", type=int, default=100, help="0 leaves them out")
    parser.add_argument("--hosts", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the page is written")
    asked = parser.parse_args()
    measured = _creates(asked.creates) if asked.creates else []
    found, mixed = [], []
    for hosts in asked.hosts:
        print(f"decisions on {hosts} hosts", flush=True)
        kinds, mix = decisions.measure(hosts, asked.rounds)
        found += kinds
        mixed.append(mix)
    body = report.body(found, mixed, measured)
    return publish("schedule", "Scheduling", "make bench-schedule", report.budgets(mixed, measured), body, folder=asked.folder)


def _creates(count: int) -> list[creates.Creates]:
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        print("creates on SQLite", flush=True)
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where)
        measured.append(creates.measure("SQLite", *where, 1, count))
    if binaries() is None:
        print("PostgreSQL is not installed: its part is left out")
        return measured
    server = PostgreSQL.start()
    try:
        where = (server.create_database(), server.create_database())
        creates.prepare(*where)
        for processes in (1, 2):
            print(f"creates on PostgreSQL, {processes} at once", flush=True)
            measured.append(creates.measure("PostgreSQL", *where, processes, count))
    finally:
        server.stop()
    return measured


if __name__ == "__main__":
    sys.exit(main())
