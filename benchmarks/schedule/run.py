"""`python -m benchmarks.schedule.run`: measure, write docs/benchmarks/schedule.md; status 1 on a missed budget."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.postgres import PostgreSQL, binaries

from benchmarks.schedule import create_http, creates, decisions, report

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule.run", description="Time decisions and creates.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--creates", type=int, default=100)
    parser.add_argument("--hosts", type=int, nargs="*", default=[100, 1000, 10000])
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks" / "schedule.md")
    asked = parser.parse_args()
    found, mixed = [], []
    for hosts in asked.hosts:
        print(f"decisions on {hosts} hosts", flush=True)
        kinds, mix = decisions.measure(hosts, asked.rounds)
        found += kinds
        mixed.append(mix)
    measured, over_http = _creates(asked.creates)
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    asked.report.write_text(report.markdown(found, mixed, measured, over_http))
    missed = report.missed(mixed, measured, over_http)
    print("\n".join(missed) or "every budget was met")
    return 1 if missed else 0


def _creates(count: int) -> tuple[list[creates.Creates], list[create_http.HttpCreates]]:
    measured, over_http = [], []
    with tempfile.TemporaryDirectory() as folder:
        print("creates on SQLite", flush=True)
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where)
        measured.append(creates.measure("SQLite", *where, 1, count))
        over_http.append(create_http.measure("SQLite", *where, 1, count))
    creates.unload()
    if binaries() is None:
        print("PostgreSQL is not installed: its part is left out")
        return measured, over_http
    server = PostgreSQL.start()
    try:
        where = (server.create_database(), server.create_database())
        creates.prepare(*where)
        for processes in (1, 2):
            print(f"creates on PostgreSQL, {processes} at once", flush=True)
            measured.append(creates.measure("PostgreSQL", *where, processes, count))
            over_http.append(create_http.measure("PostgreSQL", *where, processes, count))
    finally:
        creates.unload()
        server.stop()
    return measured, over_http


if __name__ == "__main__":
    sys.exit(main())
