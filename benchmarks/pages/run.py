"""`python -m benchmarks.pages.run`: the web page of 1,000 hosts, in a browser; writes docs/benchmarks/pages.md; 1 on a missed budget."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tests.rig.fleet import ACCOUNT

from benchmarks.memory.run import filled_api
from benchmarks.page import PAGES, Budget, publish, table
from pinfold.store import guests, hosts
from pinfold.store.database import Database

BOUND_SECONDS = 1.0
"""The budget for the first content of each page."""
GUESTS_EACH = (0, 10, 20, 20, 30, 40)
"""How many guests a host has: one of these, 20 on average."""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"


def main() -> int:
    """Fill a fleet, serve it, and open its pages in Chromium."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages.run", description="Measure the web page.")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the page is written")
    asked = parser.parse_args()
    with filled_api(asked.hosts, guests_each=GUESTS_EACH) as (made, process, database), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(base_url=process.told["url"]).new_page()
        page.set_default_timeout(120_000)
        first = _sign_in(page)
        guest = _a_guest(database)
        rows = [(what, *_opened(page, path, asked.runs, database, changed)) for what, path, changed in _asked(guest)]
        browser.close()
    budgets = [
        Budget(what=f"{row[0]}, {asked.hosts} hosts: first content, median", measured=row[1], bound=BOUND_SECONDS, unit="s") for row in rows
    ]
    body = [
        *_METHOD.format(hosts=asked.hosts, guests=made.guests, runs=asked.runs, first=first).splitlines(),
        "",
        *table(("page", "first content, s", "slowest, s", "KiB"), rows),
    ]
    return publish("pages", "The web page", "make bench-pages", budgets, body, folder=asked.folder)


_METHOD = """\
One `pinfold api` process with Placement embedded, on SQLite, with {hosts} registered hosts of five shapes (64 to 96 pCPUs, with 0 to
40 guests) and {guests} guests. A headless Chromium on the same machine opens each page {runs} times. First content is the browser's own
first contentful paint, from the beginning of the navigation. The first fleet page after the start of the process took {first:.1f} s."""


def _asked(guest: str) -> tuple[tuple[str, str, bool], ...]:
    """What, its path, and whether a host changes before each time; `guest` is the id of one."""
    return (
        ("fleet", "/ui", False),
        ("fleet, after a host has changed", "/ui", True),
        ("fleet by drift, page 10", "/ui?sort=drift&page=10", False),
        ("fleet, one guest searched", f"/ui?guest=vm-{guest[:8]}", False),
        ("fleet, many guests searched", "/ui?guest=vm-0", False),
        ("a host", "/ui/hosts/c0000", False),
        ("a guest", f"/ui/guests/{guest}", False),
        ("every host against a flavor", "/ui/fits?flavor=bench", False),
    )


def _sign_in(page: Page) -> float:
    """Sign in; how long the first fleet page took."""
    page.goto("/ui")
    page.get_by_label("Name").fill(ACCOUNT[0])
    page.get_by_label("Password").fill(ACCOUNT[1])
    began = time.monotonic()
    page.get_by_role("button", name="Sign in").click()
    page.locator("#host-c0000, #next").first.wait_for()
    return time.monotonic() - began


def _opened(page: Page, path: str, runs: int, database: str, changed: bool) -> tuple[float, float, float]:
    """The median and the worst time to first content in seconds, and the size of the page in KiB."""
    times = []
    size = 0
    for number in range(runs):
        if changed:
            _change(database, f"c{number:04}")
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, answer.status
        size = len(answer.body())
        page.wait_for_function(f"({_PAINT}) >= 0")
        times.append(float(page.evaluate(_PAINT)) / 1000)
    return statistics.median(times), max(times), size / 1024


def _a_guest(url: str) -> str:
    """The id of a guest."""
    database = Database(url)
    with database.read() as connection:
        found = guests.page(connection, guests.GuestFilter(), limit=1)[0]
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


if __name__ == "__main__":
    sys.exit(main())
