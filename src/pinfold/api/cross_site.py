"""Protect from web pages of other sites that act through an administrator's browser.

A browser adds HTTP Basic credentials and the web page's cookie by itself, and under `--no-auth` none are needed. Three rules keep other
sites out:

1. A POST must say `Content-Type: application/json`, even without a body. A page of another site can send GET, HEAD and POST, and with
   a POST only the types of forms; for everything else a browser asks first, and pinfold never allows it.
   Source: the Fetch Standard, "CORS-safelisted request-header".
2. Without authentication the `Host` must be a name of loopback. Another site's name that suddenly means 127.0.0.1 (DNS rebinding) makes
   its pages look like pinfold's to a browser, so rule 1 does not stop them.
3. A POST below `/ui/` is a form of the web page, and the exception to rule 1: its `Origin` must be this service. A browser sends it with
   every POST, and no page can change it.
"""

from __future__ import annotations

from typing import Final

from pinfold.api.asgi import App, Receive, Scope, Send, header_of
from pinfold.api.errors import send_error
from pinfold.core.addresses import names_loopback

_JSON: Final = "application/json"
FORMS_BELOW: Final = "/ui/"
AGENTS: Final = "/agent/"
"""Agents' routes need a token, which no browser adds by itself."""


def sendable_by_a_form(method: str, path: str, content_type: str) -> bool:
    """Whether a page of another site could have sent this change.

    >>> sendable_by_a_form("POST", "/v1/hosts", "text/plain"), sendable_by_a_form("POST", "/v1/hosts", "application/json; charset=utf-8")
    (True, False)
    """
    return method == "POST" and not path.startswith(AGENTS) and content_type.partition(";")[0].strip().lower() != _JSON


def of_own_page(path: str, origin: str, host: str) -> bool:
    """Whether a POST is a form of the web page, sent from a page of this service.

    >>> of_own_page("/ui/sign-in", "https://cloud:8774", "cloud:8774"), of_own_page("/ui/sign-in", "https://evil", "cloud:8774")
    (True, False)
    >>> of_own_page("/ui/sign-in", "null", ""), of_own_page("/v1/hosts", "https://cloud", "cloud")
    (False, False)
    """
    scheme, separator, name = origin.partition("://")
    return path.startswith(FORMS_BELOW) and scheme in ("http", "https") and bool(separator) and bool(host) and name.lower() == host.lower()


class JsonPosts:
    """ASGI: answers 415 to a POST that a form could have sent."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(FORMS_BELOW):
            if not of_own_page(scope["path"], header_of(scope, b"origin"), header_of(scope, b"host")):
                await send_error(scope, send, 403, "This form is accepted only from a page of this service, and the Origin is another.")
                return
        elif scope["type"] == "http" and sendable_by_a_form(scope["method"], scope["path"], header_of(scope, b"content-type")):
            await send_error(scope, send, 415, "A POST needs the header Content-Type: application/json, also without a body.")
            return
        await self._app(scope, receive, send)


class LoopbackHosts:
    """ASGI: answers 403 if the `Host` is not a name of loopback. With `wanted`, for a service without authentication."""

    def __init__(self, app: App, *, wanted: bool) -> None:
        self._app = app
        self._wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._wanted and scope["type"] == "http" and not names_loopback(host := header_of(scope, b"host")):
            message = f"The Host {host[:255]!r} is not allowed without authentication; localhost, 127.0.0.1 and [::1] are."
            await send_error(scope, send, 403, message)
            return
        await self._app(scope, receive, send)
