"""What the routes of the web page share: their headers, pages as answers, and forms as they are read."""

from __future__ import annotations

import importlib.util
from typing import Final
from urllib.parse import parse_qs

from fastapi.responses import HTMLResponse

from pinfold.api.errors import ApiError
from pinfold.api.ui.headers import HEADERS
from pinfold.extras import installing

_MOST_FORM: Final = 4096


def html(text: str, status: int = 200, more: dict[str, str] | None = None) -> HTMLResponse:
    """A page as an answer, under the page's security policy."""
    return HTMLResponse(text, status, headers={**HEADERS, **(more or {})})


def fields(form: bytes, usual: str) -> dict[str, str]:
    """The fields of a form. Raises `ApiError` 400 if it is too long, no text, or has more fields than ours."""
    if len(form) > _MOST_FORM:
        raise ApiError(400, f"The form has {len(form)} bytes; at most {_MOST_FORM} are allowed.")
    try:
        found = parse_qs(form.decode(), errors="strict", max_num_fields=8)
    except ValueError as error:
        raise ApiError(400, f"The form is not {usual} in UTF-8.") from error
    return {name: values[0] for name, values in found.items()}


def need_extra() -> None:
    """Raises `ApiError` 501 without Jinja2."""
    if importlib.util.find_spec("jinja2") is None:
        raise ApiError(501, f"The web page needs the Python package jinja2, which is not installed; install it: {installing('ui')}")
