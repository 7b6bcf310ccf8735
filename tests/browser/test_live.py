"""Live updates in a real Chromium: they lose nothing that the reader has opened, typed, marked or focused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from tests.build.hosts import report
from tests.rig.browser import needs_chromium
from tests.rig.client import SHARE
from tests.rig.drawn_fleet import drift
from tests.rig.in_process import Fleet
from tests.stories.test_drift import finds

pytestmark = [needs_chromium, pytest.mark.real_placement]


@pytest.fixture(scope="module")
def fleet(fleet: Fleet) -> Iterator[Fleet]:
    """A host with a guest that has drifted."""
    fleet.flavor("share", vcpus=2, **SHARE)
    fleet.flavor("share-4", vcpus=4, **SHARE)
    c1 = fleet.host("c1", report(cores=20))
    guest = fleet.create("astray", "share", host="c1")
    fleet.obey()
    finds(c1, drift(guest, "astray"))
    return fleet


def starts(fleet: Fleet, name: str) -> None:
    """A guest starts."""
    fleet.create(name, "share", host="c1")
    fleet.obey()


def test_an_update_keeps_what_is_open_and_where_the_reader_is(page: Page, fleet: Fleet) -> None:
    page.goto("/ui/hosts/c1")
    page.locator("#table").click()
    table = page.get_by_role("region", name="Table of pCPUs")
    table.focus()
    starts(fleet, "kept open")
    expect(page.get_by_text("kept open", exact=True).first).to_be_visible()
    expect(table).to_be_focused()
    expect(table).to_be_visible()


def test_nothing_is_exchanged_under_who_types_and_nothing_is_lost(page: Page, fleet: Fleet) -> None:
    page.goto("/ui")
    page.locator("#flavor").select_option("share")
    page.locator("#guest").fill("ast")
    starts(fleet, "meanwhile")
    expect(page.get_by_role("status")).to_contain_text("Something has changed.")
    guests = page.get_by_role("row").filter(has_text="c1").get_by_role("cell").nth(5)
    expect(guests).to_have_text("2")
    page.keyboard.press("Tab")
    expect(page.get_by_role("status")).to_contain_text("Updated at")
    expect(guests).to_have_text("3")
    expect(page.locator("#guest")).to_have_value("ast")
    expect(page.locator("#flavor")).to_have_value("share")
    expect(page.locator("#find")).to_be_focused()


def test_a_marked_text_stays_marked(page: Page, fleet: Fleet) -> None:
    page.goto("/ui/hosts/c1")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('code'))")
    starts(fleet, "not now")
    expect(page.get_by_role("status")).to_contain_text("Something has changed.")
    assert page.evaluate("getSelection().toString()") == "taskset -pc 0-1 4711"
    page.evaluate("getSelection().removeAllRanges()")
    expect(page.get_by_text("not now", exact=True).first).to_be_visible()


def test_a_plan_that_somebody_reads_is_not_exchanged_for_another(page: Page, fleet: Fleet) -> None:
    page.goto("/ui/hosts/c1")
    page.get_by_role("link", name="Repair astray").click()
    page.locator("#confirm").wait_for()
    finds(fleet.agents["c1"])
    expect(page.get_by_role("status")).to_contain_text("This plan has changed. Load the page again before you decide.")
    expect(page.get_by_role("cell", name="0-39", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text("reported no thread that a repair would move")).to_be_visible()


def test_a_change_between_the_page_and_its_stream_is_not_lost(page: Page, fleet: Fleet) -> None:
    def first(route: object) -> None:
        starts(fleet, "in between")
        route.continue_()  # type: ignore[attr-defined]

    page.route("**/live?*", first, times=1)
    page.goto("/ui/hosts/c1")
    expect(page.get_by_text("in between", exact=True).first).to_be_visible()


def test_a_page_that_could_not_be_read_again_is_read_later_without_another_change(page: Page, fleet: Fleet) -> None:
    page.clock.install()
    with page.expect_response(lambda one: "/live?" in one.url):
        page.goto("/ui/hosts/c1")
    page.route("**/ui/hosts/c1", lambda route: route.fulfill(status=503))
    starts(fleet, "shown late")
    expect(page.get_by_role("status")).to_contain_text("Not updated since")
    page.unroute("**/ui/hosts/c1")
    page.clock.fast_forward(11_000)
    expect(page.get_by_text("shown late", exact=True).first).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Updated at")


def test_a_page_that_was_not_live_for_a_while_says_when_it_is_again(page: Page, fleet: Fleet) -> None:
    page.clock.install()
    page.route("**/live?*", lambda route: route.abort())
    page.goto("/ui/hosts/c1")
    page.clock.fast_forward(31_000)
    expect(page.get_by_role("status")).to_contain_text("Not live since")
    page.unroute("**/live?*")
    expect(page.get_by_role("status")).to_contain_text("Live again since")


def test_a_page_whose_session_has_ended_says_so(page: Page, fleet: Fleet) -> None:
    with page.expect_response(lambda one: "/live?" in one.url):
        page.goto("/ui/hosts/c1")
    page.context.clear_cookies()
    starts(fleet, "unseen")
    expect(page.get_by_role("status")).to_contain_text("Not live any more: the session has ended.")
