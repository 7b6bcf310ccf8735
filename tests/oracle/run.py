"""`python -m tests.oracle.run`: many cases over all processors. `make oracle` makes a page of such a run.

Exit status: 0 without disagreements and with the coverage reached; 1 with disagreements; 2 when only the coverage falls short.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator

from tests.oracle.compare import examine, load_engine
from tests.oracle.generate import case
from tests.oracle.report import Tally

BATCH = 250


def batch(work: tuple[int, int, int, bool]) -> Tally:
    """The tally of the cases `first` to `last - 1` of a seed."""
    seed, first, last, alone = work
    engine = None if alone else load_engine()
    tally = Tally()
    for index in range(first, last):
        tally.add(examine(case(seed, index), engine))
    return tally


def tally_of(cases: int, seed: int, *, jobs: int = 1, alone: bool = False, stop: bool = False) -> Tally:
    """The tally of `cases` cases; `alone` asks the oracle only, `stop` ends after the first batch with a disagreement."""
    total = Tally()
    size = BATCH if not stop else BATCH // 5
    work = [(seed, first, min(first + size, cases), alone) for first in range(0, cases, size)]
    for part in _parts(work, jobs):
        total.merge(part)
        if stop and total.wrong:
            break
    return total


def _parts(work: list[tuple[int, int, int, bool]], jobs: int) -> Iterator[Tally]:
    if jobs == 1:
        yield from map(batch, work)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(batch, work)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.run", description="Put random cases to the engine and to the oracle.")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--alone", action="store_true", help="ask the oracle only, for the coverage of the cases")
    parser.add_argument("--stop", action="store_true", help="end soon after the first disagreement")
    options = parser.parse_args()
    tally = tally_of(options.cases, options.seed, jobs=options.jobs, alone=options.alone, stop=options.stop)
    print(tally.summary())
    for seed, text in tally.wrong[:20]:
        print(f"{seed}: {text}")
    if tally.wrong:
        return 1
    shortfalls = tally.shortfalls() if not options.stop else []
    for text in shortfalls:
        print(f"coverage: {text}")
    return 2 if shortfalls else 0


if __name__ == "__main__":
    sys.exit(main())
