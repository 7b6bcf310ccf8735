"""`python -m benchmarks.run [SUBJECT ...] [--size small|long|check]`: measure, and write pages, plots and raw JSON.

`--pages` measures nothing and makes the pages anew from the raw JSON. Status 1 if a run failed or missed a budget; the others go on.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

try:
    from tests.interrupt import InterruptOnce

    from benchmarks import summary
    from benchmarks.page import PAGES
    from benchmarks.registry import SUBJECTS
    from benchmarks.subject import Size, Subject, read, run, write
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] in ("benchmarks", "pinfold", "tests"):
        raise
    sys.exit(f"benchmarks need the Python package {error.name}, which is not installed: bin/setup --tests installs it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, one after another."""
    every = {one.name: one for one in SUBJECTS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure, and write the pages of docs/benchmarks.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"which; all by default: {', '.join(every)}")
    parser.add_argument("--size", choices=[size.value for size in Size], default=Size.SMALL.value)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", action="store_true", help="measure nothing; make the pages anew from their raw JSON")
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the pages are written")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.subjects if name not in every]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(every)}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    wanted = [every[name] for name in asked.subjects or every]
    failed = [failure for one in wanted for failure in _one(one, Size(asked.size), asked.seed, asked.folder, pages=asked.pages)]
    if not asked.subjects or asked.pages:
        summary.write(asked.folder)
    print("\n".join(failed) or "every budget was kept")
    return 1 if failed else 0


def _one(subject: Subject, size: Size, seed: int, folder: Path, *, pages: bool) -> list[str]:
    """Run one subject; what failed, in sentences."""
    if pages:
        return write(subject, folder) if read(subject.name, folder) is not None else []
    began = time.monotonic()
    print(f"{subject.name}, size {size.value}, seed {seed}", flush=True)
    failed = run(subject, size, seed, folder)
    print(f"{subject.name}: {time.monotonic() - began:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, InterruptOnce())
    try:
        status = main()
    except KeyboardInterrupt:
        sys.exit("benchmarks: stopped before the end")
    sys.exit(status)
