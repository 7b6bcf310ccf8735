"""One round of creates of one side: `creates.py TREE COUNT` prints a JSON object. It runs on the modules of TREE."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.postgres import PostgreSQL, binaries

import pinfold
from benchmarks.schedule import creates


def main() -> None:
    """Create servers over HTTP on each database: one API process, whose own CPU is compared with a bare PUT that takes turns with it."""
    tree, count = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    assert Path(pinfold.__file__).is_relative_to(tree), f"{pinfold.__file__} is not of {tree}"
    print(json.dumps({name: value for made in _both(count) for name, value in _sample(made)}))


def _both(count: int) -> Iterator[creates.Creates]:
    with tempfile.TemporaryDirectory() as folder:
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where)
        yield creates.measure([creates.Setting(name="SQLite", places=[where])], count)[0]
    if binaries() is None:
        return
    server = PostgreSQL.start()
    try:
        where = (server.create_database(), server.create_database())
        creates.prepare(*where)
        yield creates.measure([creates.Setting(name="PostgreSQL", places=[where])], count)[0]
    finally:
        server.stop()


def _sample(made: creates.Creates) -> list[tuple[str, float]]:
    """In microseconds, and our own CPU in thousandths of the bare PUT's, which a machine that others use disturbs least."""
    own, put = made.own_cpu_ms, made.put_cpu_ms
    what = f"create over HTTP, {made.setting}"
    return [
        (what, own * 1e3),
        (f"{what}, without HTTP", made.direct_cpu_ms * 1e3),
        (f"{what}, in thousandths of a bare PUT", own / put * 1e3),
    ]


if __name__ == "__main__":
    main()
