"""`pinfold watch --ui` before it watches: what it says without its package, and what it does not import."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.extras import installing
from pinfold.wiring.watch_page import refuse_without_extra


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
