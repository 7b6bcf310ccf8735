"""The page of the host that a watch serves: that of the API, made of the last sweep. Needs Jinja2, of the extra `pinfold[ui]`.

It reads what the watch knows and changes nothing. A browser asks every few seconds whether there was another sweep, or another trouble:
while the host cannot be swept there is no other sweep.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Final

from msgspec import Struct

from pinfold.core.drift import Finding
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.history import KEPT_SECONDS
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.extras import installing
from pinfold.host.map import audited_map
from pinfold.watch.journal import journal_path, read_since
from pinfold.watch.listener import Page
from pinfold.watch.loop import Watch

UI: Final = "/ui"
_LAST: Final = "Last-Event-ID"
_ASK_AGAIN_MS: Final = 3000


class _Host(Struct, frozen=True, kw_only=True):
    """What the template asks of a host of the service."""

    name: str
    disabled: bool = False


def refuse_without_extra() -> None:
    """Raises `InvalidRequest` without Jinja2."""
    if importlib.util.find_spec("jinja2") is None:
        raise InvalidRequest(f"--ui needs the Python package jinja2, which is not installed; install it: {installing('ui')}", key="--ui")


def ui_pages(watch: Watch) -> dict[str, Page]:
    """The pages by path. Raises `InvalidRequest` without Jinja2."""
    refuse_without_extra()
    from pinfold.api.ui.headers import HEADERS
    from pinfold.drawing.svg import STYLE

    def static(name: str) -> str:
        return (resources.files("pinfold.api.ui") / "static" / name).read_text(encoding="utf-8")

    def page(kind: str, text: str) -> Page:
        return Page(content_type=f"{kind}; charset=utf-8", render=lambda _: text.encode(), headers=HEADERS, own_host=True)

    return {
        UI: Page(content_type="text/html; charset=utf-8", render=lambda _: _host(watch).encode(), headers=HEADERS, own_host=True),
        f"{UI}/live": Page(
            content_type="text/event-stream; charset=utf-8",
            render=lambda fields: _live(watch, fields).encode(),
            headers=HEADERS,
            hears=_LAST,
            own_host=True,
        ),
        f"{UI}/style.css": page("text/css", static("style.css") + STYLE),
        f"{UI}/live.js": page("text/javascript", static("live.js")),
    }


def _live(watch: Watch, fields: Mapping[str, str]) -> str:
    """The events since the one that the browser has. The stream then ends, and the browser asks again."""
    state = watch.state
    troubles = "; ".join(f"{about}: {trouble}" for about, trouble in sorted(state.troubles.items()))
    now = f"{state.sweeps}-{zlib.crc32(troubles.encode(errors='replace')):x}"
    changed = "event: changed\n" if fields[_LAST] not in ("", now) else ""
    return f"retry: {_ASK_AGAIN_MS}\nid: {now}\n{changed}data: {now}\n\n"


def _since(settings: HostSettings, findings: Sequence[Finding]) -> tuple[float | None, ...]:
    """Since when each finding has been there; the page does without, if the journal cannot be read."""
    try:
        return read_since(journal_path(settings), findings)
    except (InvalidRequest, Unavailable):
        return (None,) * len(findings)


def _host(watch: Watch) -> str:
    from pinfold.api.ui.host_view import host_view
    from pinfold.api.ui.render import moment, render

    last, state = watch.last, watch.state
    if last is None:
        raise InvalidRequest("there was no sweep yet; load the page again")
    seen = last.audit.seen
    guests = [(GuestId(guest.id), guest.server or guest.name) for guest in seen.guests if guest.active]
    trouble = "; ".join(state.troubles.values())
    history = watch.history(KEPT_SECONDS)
    found = last.audit.findings
    view = host_view(
        audited_map(last.audit), seen.state, found, guests, history if history.ends else None, since=_since(state.settings, found)
    )
    return render(
        "host.html",
        account="",
        admin=False,
        alone=True,
        live=f"{UI}/live",
        host=_Host(name=state.settings.host),
        state=f"watched; {trouble}" if trouble else "watched",
        known={},
        repairs=[],
        moving="",
        reported=moment(state.swept_time) if state.swept_time else "",
        **view,
    )
