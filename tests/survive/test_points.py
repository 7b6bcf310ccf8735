"""That no named point is forgotten: each is reached by the code, and each is one at which the suites kill a process."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.survive import points

import pinfold
from pinfold.faultpoints import POINTS


def _reached() -> list[str]:
    """The name in every call of `fault_point` in the source."""
    found = []
    for path in Path(pinfold.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "fault_point":
                assert isinstance(call.args[0], ast.Constant), f"{path}: a point is named in its call"
                found.append(str(call.args[0].value))
    return found


def test_every_named_point_is_reached_by_the_code_and_no_other() -> None:
    assert sorted(set(_reached())) == sorted(POINTS)


def test_at_every_named_point_a_process_is_killed() -> None:
    assert sorted(points.ALL) == sorted(POINTS)
