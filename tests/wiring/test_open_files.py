"""The limit of open files is raised as far as it goes, and the bounds on connections follow it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, logging, resource, sys
from pinfold.api.connections import ConnectionLimits
from pinfold.wiring.open_files import fitting
logging.basicConfig(stream=sys.stderr, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
found = fitting(ConnectionLimits(total=1000, strangers=400))
print(json.dumps([found.total, found.strangers, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "expected", "said"),
    [
        pytest.param(256, 2000, [1000, 400, 1256], "", id="the soft limit is raised to what is needed"),
        pytest.param(1500, 2000, [1000, 400, 1500], "", id="a soft limit that is enough stays"),
        pytest.param(256, 900, [644, 322, 900], "may open 900 files: 644 connections fit (LimitNOFILE)", id="the hard limit is too low"),
    ],
)
def test_open_files(soft: int, hard: int, expected: list[int], said: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(soft), str(hard)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == expected
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)
