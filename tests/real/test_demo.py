"""The demonstration that `bin/demo` runs after its set-up: it reaches its end on real guests, and leaves no lab behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pinfold.lab.folder import labs

ROOT = Path(__file__).resolve().parents[2]


def test_the_demonstration_reaches_its_end_and_leaves_nothing() -> None:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PINFOLD")}
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "one_host.py"], env=plain, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Both labs are down and no guest is left" in done.stdout
    assert not [lab for lab in labs() if lab.path.name.startswith("demo-")]
