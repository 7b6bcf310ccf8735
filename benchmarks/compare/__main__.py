"""`python -m benchmarks.compare --base COMMIT`: measure that commit and this tree in turns, and print medians, spread and ratios.

The commit gets a worktree, which is removed in the end. Each side is measured with the `src` and `benchmarks` of its own tree, in a new
process for each round. Which side goes first changes from round to round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.page import figure, machine, table

ROOT = Path(__file__).resolve().parents[2]
_WORKER = Path(__file__).with_name("measure.py")
_CREATES = Path(__file__).with_name("creates.py")
Sample = dict[str, float]
"""What was measured in one round, in microseconds: less is better."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare this tree with another commit.")
    parser.add_argument("--base", required=True, metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--creates", type=int, default=0, metavar="COUNT", help="measure so many creates over HTTP a round instead")
    asked = parser.parse_args(arguments)
    samples: dict[str, list[Sample]] = {"base": [], "this": []}
    with worktree(asked.base) as base:
        for number in range(asked.rounds):
            sides = [("base", base), ("this", ROOT)]
            for side, tree in sides if number % 2 == 0 else sides[::-1]:
                print(f"round {number + 1} of {asked.rounds}, {side}", file=sys.stderr, flush=True)
                samples[side].append(measured(tree, asked.hosts, asked.creates))
    print("\n".join(report(asked.base, samples["base"], samples["this"])))
    return 0


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A checkout of the commit beside this one, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="pf-compare-") as folder:
        path = Path(folder) / "base"
        _git("worktree", "add", "--quiet", "--detach", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")


def measured(tree: Path, hosts: int, creates: int = 0) -> Sample:
    """One round of one side: decisions on so many hosts and fits, or so many creates."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tree / "src"), str(tree)))}
    worker, size = (_CREATES, creates) if creates else (_WORKER, hosts)
    line = [sys.executable, str(worker), str(tree), str(size)]
    done = subprocess.run(line, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{tree}: it cannot be measured, see above; a commit that is much older may lack what is measured here")
    found: Sample = json.loads(done.stdout.splitlines()[-1])
    return found


def report(base: str, before: Sequence[Sample], after: Sequence[Sample]) -> list[str]:
    """A table with the median and the spread of both sides, and the ratio of the medians. Pure."""
    rows = []
    for name in before[0]:
        if name not in after[0]:
            continue
        sides = [[sample[name] for sample in samples] for samples in (before, after)]
        medians = [statistics.median(side) for side in sides]
        rows.append(
            (
                name,
                *(f"{figure(median)} ({figure(min(side))} to {figure(max(side))})" for median, side in zip(medians, sides, strict=True)),
                round(medians[1] / medians[0], 3),
            )
        )
    return [
        f"{machine()} {len(before)} rounds, in turns. Microseconds of CPU: median, and least to most. Below 1 this tree is faster.",
        "",
        *table(("what", base, "this tree", "ratio"), rows),
    ]


if __name__ == "__main__":
    sys.exit(main())
