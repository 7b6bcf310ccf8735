"""`python -m benchmarks.run` where what the tests need is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_without_the_packages_of_the_tests_it_says_what_installs_them() -> None:
    code = "import sys, runpy; sys.modules['ortools'] = None; runpy.run_module('benchmarks.run', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert ended.stderr.startswith("benchmarks need the Python package ortools")
    assert ended.stderr.endswith(", which is not installed: bin/setup --tests installs it\n")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
