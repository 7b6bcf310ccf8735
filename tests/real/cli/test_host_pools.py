"""`pinfold host pools` as a process of its own: what it prints and its exit status, for a plan and for `--apply`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.real.cli.conftest import Pinfold, change_pools


def test_a_plan_says_what_moves_and_apply_moves_it(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    def told(*more: str, status: int) -> Any:
        return json.loads(pinfold("host", "pools", "--json", *more, status=status).stdout)

    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    assert "every guest is where these pools put it" in pinfold("host", "pools").stdout
    change_pools(tmp_path, "0,20", "3-15,18-19,21-31")
    plan = told(status=1)
    (guest,) = plan["guests"]
    assert (plan["applied"], plan["settled"], guest["name"], guest["outcome"], guest["retiring"]) == (False, False, "web", "pending", "2")
    assert {(move["from"], move["to"]) for move in guest["moves"]} == {("0-1,16-17", "0,20")}
    assert "1 guest to move" in pinfold("host", "pools", status=1).stdout
    done = told("--apply", status=0)
    assert (done["applied"], done["settled"], done["guests"][0]["outcome"]) == (True, True, "moved")
    said = pinfold("host", "pools").stdout
    moves = "guest web keeps pCPU 2, which retires; `pinfold host repin` shows whether a move inside its host cell frees it; "
    assert f"{moves}a new place would free it: `pinfold guest stop web`" in " ".join(said.split())
    assert told(status=0)["guests"][0]["outcome"] == "kept"
    change_pools(tmp_path, "0,20", "2-15,900")
    assert "cpu_dedicated_set names pCPU 900" in pinfold("host", "pools", "--apply", status=2).stderr
