"""The pages of a filled fleet, opened in a headless Chromium in turns."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright
from tests.rig.fleet import ACCOUNT

from benchmarks.memory.run import filled_api
from benchmarks.process import cpu_seconds
from pinfold.store import guests, hosts
from pinfold.store.database import Database

GUESTS_EACH: Final = (0, 10, 20, 20, 30, 40)
"""How many guests a host has: one of these, 20 on average."""
_TIMES: Final = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const read = performance.getEntriesByType("navigation")[0];
  return paint && read ? [paint.startTime, read.responseEnd] : null;
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page, its address, and whether a host changes before each time."""

    what: str
    path: str
    changed: bool = False


@dataclass(slots=True, kw_only=True)
class Opened:
    """What was measured of one view, in seconds from the beginning of each navigation, and the size of the last answer.

    `cpu` are the seconds of processor time that the service took meanwhile.
    """

    what: str
    first_content: list[float]
    answered: list[float]
    cpu: list[float]
    kib: float = 0.0


def opened(count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Fill `count` hosts, serve them, and open every view `rounds` times, in turns and in alternating order.

    A first round does not count.
    """
    with filled_api(count, guests_each=GUESTS_EACH, seed=seed) as (made, process, database), _chromium(process.told["url"]) as page:
        first = _sign_in(page)
        views = views_of(_guest(database))
        found = {view.what: Opened(what=view.what, first_content=[], answered=[], cpu=[]) for view in views}
        for number in range(-1, rounds):
            for view in views if number % 2 else reversed(views):
                if view.changed:
                    _change(database, f"c{(number + 1) % count:04}")
                spent = cpu_seconds(process.pid)
                paint, answered, kib = _open(page, view.path)
                if number >= 0:
                    found[view.what].first_content.append(paint)
                    found[view.what].answered.append(answered)
                    found[view.what].cpu.append(cpu_seconds(process.pid) - spent)
                    found[view.what].kib = kib
    return {
        "hosts": count,
        "guests": made.guests,
        "rounds": rounds,
        "first_seconds": first,
        "views": [asdict(one) for one in found.values()],
    }


def views_of(guest: str) -> Sequence[View]:
    """What is opened; `guest` is the id of one."""
    return (
        View(what="fleet", path="/ui"),
        View(what="fleet, after a host has changed", path="/ui", changed=True),
        View(what="fleet by score", path="/ui?sort=score"),
        View(what="fleet by drift, page 10", path="/ui?sort=drift&page=10"),
        View(what="fleet, one guest searched", path=f"/ui?guest=vm-{guest[:8]}"),
        View(what="fleet, many guests searched", path="/ui?guest=vm-0"),
        View(what="a host", path="/ui/hosts/c0000"),
        View(what="a guest", path=f"/ui/guests/{guest}"),
        View(what="every host against a flavor", path="/ui/fits?flavor=bench"),
    )


@contextmanager
def _chromium(url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(base_url=url).new_page()
        page.set_default_timeout(120_000)
        yield page
        browser.close()


def _sign_in(page: Page) -> float:
    """Sign in; how long the first fleet page took."""
    page.goto("/ui")
    page.get_by_label("Name").fill(ACCOUNT[0])
    page.get_by_label("Password").fill(ACCOUNT[1])
    began = time.monotonic()
    page.get_by_role("button", name="Sign in").click()
    page.locator("a[id^=host-]").first.wait_for()
    return time.monotonic() - began


def _open(page: Page, path: str) -> tuple[float, float, float]:
    """Open a page: the seconds until its first content and until its answer was complete, and its size in KiB."""
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 200, f"{path}: {answer.status}"
    size = len(answer.body()) / 1024
    paint, answered = page.wait_for_function(_TIMES).json_value()
    return float(paint) / 1000, float(answered) / 1000, size


def _guest(url: str) -> str:
    """The id of a guest."""
    database = Database(url)
    with database.read() as connection:
        found = guests.page(connection, limit=1)[0]
    database.close()
    return found.id


def _change(url: str, name: str) -> None:
    """Change the ledger of one host, as a claim does."""
    database = Database(url)
    with database.write() as connection:
        host = hosts.find(connection, name)
        assert host is not None
        hosts.bump(connection, host.id, ledger=True)
    database.close()
