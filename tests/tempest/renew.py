"""Run some tests anew, and write their results into the committed run: `python -m tests.tempest.renew RUN REGEX`.

`RUN` is `tempest`, `whitebox`, or `whitebox-emulated` for its tests with emulated guests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.tempest import results
from tests.tempest.cloud import SELECTED, cloud, run
from tests.tempest.results import HERE, TEMPEST, WHITEBOX
from tests.tempest.whitebox import CHOSEN, EMULATED, emulated_whitebox, whitebox

_RUNS: Final = {
    "tempest": (TEMPEST, cloud, SELECTED),
    "whitebox": (WHITEBOX, whitebox, CHOSEN),
    "whitebox-emulated": (WHITEBOX, emulated_whitebox, EMULATED),
}


def renew(which: str, regex: str) -> None:
    """Run the tests of the run that the expression finds, and keep the other results as they are."""
    kept, made_by, selected = _RUNS[which]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cloud").mkdir()
        with made_by(Path(folder) / "cloud", f"renew-{which[0]}") as made:
            seen = run(made, rf"^(?=.*(?:{regex})){selected}")
    path = HERE / kept.results
    path.write_text(results.written(results.renewed(kept.read() if path.exists() else (), seen)), encoding="utf-8")
    for result in seen:
        print(result.status, result.test, result.observed[:200])


if __name__ == "__main__":
    renew(*sys.argv[1:])
