"""The web page as tests read and use it: with a browser's headers, signed in or not."""

from __future__ import annotations

import re
from base64 import b64encode
from html import unescape

import httpx
from tests.rig.in_process import Fleet

PAGE = {"Accept": "text/html", "Authorization": ""}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://pinfold.test", "Authorization": ""}


def as_it_is(request: httpx.Request) -> httpx.Request:
    """Sends no account of its own."""
    if not request.headers["Authorization"]:
        del request.headers["Authorization"]
    return request


def get(fleet: Fleet, path: str) -> httpx.Response:
    return fleet.http.get(path, headers=PAGE, auth=as_it_is)


def sign_in(fleet: Fleet, name: str, password: str, **headers: str) -> httpx.Response:
    body = str(httpx.QueryParams({"name": name, "password": password}))
    return fleet.http.post("/ui/sign-in", content=body, headers=FORM | headers, auth=as_it_is)


def text_of(page: httpx.Response) -> str:
    """The words of a page, in one line."""
    assert page.status_code == 200, page.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split()).replace(" ,", ",").replace(" :", ":").replace(" ;", ";")


def post(fleet: Fleet, path: str, account: tuple[str, str] | None, **fields: str) -> httpx.Response:
    """A form that a browser sends from a page of this service."""
    headers = FORM | ({} if account is None else {"Authorization": "Basic " + b64encode(":".join(account).encode()).decode()})
    return fleet.http.post(path, content=str(httpx.QueryParams(fields)), headers=headers, auth=as_it_is)
