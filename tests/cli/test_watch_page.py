"""`pinfold watch --ui` before it watches: what it says without its package, and what it does not import."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from tests.watch.seen import Script

from pinfold.core.errors import InvalidRequest
from pinfold.extras import installing
from pinfold.watch.messages import SweepFailed
from pinfold.wiring.watch_page import refuse_without_extra, ui_pages


def test_without_its_package_it_says_which_command_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    said = f"--ui needs the Python package jinja2, which is not installed; install it: {installing('ui')}"
    with pytest.raises(InvalidRequest, match=f"^{re.escape(said)}$"):
        refuse_without_extra()


def test_the_page_of_a_watched_host_needs_no_package_of_the_service() -> None:
    code = """
import sys
for name in ("fastapi", "starlette", "sqlalchemy", "pydantic", "httpx"):
    sys.modules[name] = None
import pinfold.api.ui.headers, pinfold.api.ui.host_view
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_watch_without_a_page_does_not_import_what_makes_it() -> None:
    code = "import sys, pinfold.wiring.watch; sys.exit(any(name in sys.modules for name in ('jinja2', 'pinfold.api', 'pinfold.drawing')))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_open_page_is_read_again_when_the_host_cannot_be_swept_any_more() -> None:
    script = Script()
    script.swept()
    watch: Any = SimpleNamespace(state=script.state)
    live = ui_pages(watch)["/ui/live"]

    def told(last: str) -> tuple[str, bool]:
        answer = live.render({"Last-Event-ID": last}).decode()
        return answer.partition("id: ")[2].partition("\n")[0], "event: changed" in answer

    first, changed = told("")
    assert not changed
    assert told(first) == (first, False)
    script.told(SweepFailed(when=script.when, why="libvirt is away"))
    watch.state = script.state
    away, changed = told(first)
    assert changed
    script.told(SweepFailed(when=script.when, why="libvirt is away"))
    watch.state = replace(script.state)
    assert told(away) == (away, False)
    script.swept()
    watch.state = script.state
    assert told(away)[1]
