"""The pictures of the web page are there for every view."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.screens import KEPT, PICTURES, VIEWS, picture
from fastapi.responses import HTMLResponse

from pinfold.api.ui import change_routes, routes, sign_in

PAGE = Path("docs/how-to/see-a-fleet.md")
ALIKE = {"/ui/hosts/{}/enable": "/ui/hosts/{}/disable"}
"""Pages that look like another one."""
_PNG = b"\x89PNG"


def test_every_page_of_the_web_page_has_a_view() -> None:
    named = r"(hosts|guests)/(?!\{\})[^/?]+"
    views = {re.sub(named, r"\1/{}", path).partition("?")[0] for path in VIEWS.values()}
    pages = set()
    for router in (routes.router, change_routes.router, sign_in.router):
        for route in router.routes:
            answers = getattr(route, "endpoint").__annotations__["return"]  # noqa: B009 - a route of Starlette has none by its type
            if "GET" in getattr(route, "methods", ()) and answers in (HTMLResponse, "HTMLResponse"):
                pages.add(re.sub(r"\{[^}]+\}", "{}", str(getattr(route, "path"))))  # noqa: B009
    assert len(pages) > 8
    assert {ALIKE.get(path, path) for path in pages} == views


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_its_pictures_and_the_documentation_shows_one(view: str) -> None:
    for shape in KEPT:
        data = (PICTURES / picture(view, shape)).read_bytes()
        assert data.startswith(_PNG) and len(data) < 250_000, (view, shape)
    assert f"(pictures/{picture(view, 'light')})" in PAGE.read_text(encoding="utf-8")
