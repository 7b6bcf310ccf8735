"""The fleet page of 1,000 hosts in a real Chromium: it stays small and usable. `make bench-pages` measures how soon it is seen."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect
from tests.build.hosts import report
from tests.rig.browser import needs_chromium, violations
from tests.rig.client import SHARE
from tests.rig.in_process import Fleet

from pinfold.core.identity import HostId
from pinfold.store import hosts as store_hosts

pytestmark = [needs_chromium, pytest.mark.real_placement]


@pytest.fixture(scope="module")
def fleet(fleet: Fleet) -> Iterator[Fleet]:
    """999 hosts of 64 pCPUs that only the store knows, and one with a guest."""
    fleet.flavor("share", vcpus=2, **SHARE)
    fleet.host("h999", report(cores=8))
    with fleet.database.write() as connection:
        for number in range(999):
            name = f"h{number:03}"
            store_hosts.register(
                connection, host_id=HostId(str(uuid4())), name=name, report=report(cores=16), token_hash=name, lease_seconds=3600.0
            )
    fleet.create("needle", "share", host="h999")
    fleet.obey()
    return fleet


def test_a_fleet_of_a_thousand_hosts_is_read_and_searched_by_keyboard(page: Page) -> None:
    document = page.goto("/ui?sort=name")
    assert document is not None
    assert len(document.body()) < 400 * 1024
    expect(page.get_by_role("heading", level=1)).to_have_text("1000 hosts")
    hosts = page.get_by_role("region", name="Hosts").get_by_role("row")
    expect(hosts).to_have_count(51)
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="h050", exact=True)).to_be_visible()
    assert violations(page) == []
    page.locator("#guest").fill("need")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="needle").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("needle: running")
