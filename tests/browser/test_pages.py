"""The web page in a real Chromium: navigation, live updates, keyboard, narrow windows, hostile names, light and dark, and axe-core."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect
from tests.build.hosts import report
from tests.rig.browser import PATIENCE_MS, needs_chromium, opened, sign_in, violations
from tests.rig.client import SHARE
from tests.rig.drawn_fleet import answer, drift, hour, seen_threads
from tests.rig.in_process import ADMIN, READER, Fleet
from tests.stories.test_drift import STRAY, finds

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import plain
from pinfold.core.repair_question import RepairAnswer, RepairResult

pytestmark = [needs_chromium, pytest.mark.real_placement]

HOSTILE = "</title><script>document.title='taken'</script><img src=x onerror=alert(1)>\u202e"
PAGES = {"fleet": "/ui", "a host": "/ui/hosts/c1", "a guest": "/ui/guests/HOSTILE"}
"""The pages; HOSTILE stands for the id of the guest with the hostile name."""
PLANS = {
    "fits": "/ui/fits?flavor=share",
    "disable": "/ui/hosts/c1/disable",
    "re-pin": "/ui/hosts/c1/repin",
    "pools": "/ui/hosts/c1/pools?shared=0-1&dedicated=2-15&overhead=0-1",
    "repair": "/ui/guests/HOSTILE/repair",
}
"""The pages that explain and plan."""


@pytest.fixture(scope="module")
def fleet(fleet: Fleet) -> Iterator[Fleet]:
    """Three hosts, and a guest with a hostile name on c1, which has drifted."""
    fleet.flavor("share", vcpus=2, **SHARE)
    c1 = fleet.host("c1")
    fleet.host("c2", report(cores=3))
    fleet.host("c3", report(cores=4))
    guest = fleet.create(HOSTILE, "share", host="c1")
    fleet.obey()
    finds(c1, STRAY, drift(guest, HOSTILE))
    seen_threads(fleet, c1, guest, astray="0-15")
    fleet.http.get("/ui/hosts/c1")
    answer(c1, hour("c1", {HOSTILE: guest}, hungry=HOSTILE))
    return fleet


def path_of(fleet: Fleet, path: str) -> str:
    """The path of a page."""
    if "HOSTILE" not in path:
        return path
    (guest,) = fleet.http.get("/v1/hosts/c1/map").json()["cells"][0]["cores"][1]["pcpus"][0]["owners"]
    return path.replace("HOSTILE", guest["guest"])


def test_who_signs_in_goes_from_the_fleet_to_a_host_and_back(page: Page) -> None:
    page.get_by_role("region", name="Hosts").get_by_role("link", name="c1", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("c1: up")
    expect(page.get_by_role("img", name="Host map of c1")).to_be_visible()
    page.get_by_text("The same as a table: 16 pCPUs").click()
    expect(page.get_by_role("region", name="Table of pCPUs").get_by_role("row")).to_have_count(17)
    page.get_by_role("link", name="All hosts").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("3 hosts")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_wrong_password_is_answered_with_a_sentence(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.goto("/ui")
        page.get_by_label("Name").fill(ADMIN[0])
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")


def test_a_guest_that_starts_appears_on_the_open_page_and_focus_stays(page: Page, fleet: Fleet) -> None:
    page.goto("/ui/hosts/c2")
    expect(page.get_by_text("web", exact=True)).to_have_count(0)
    page.locator("#table").focus()
    fleet.create("web", "share", host="c2")
    fleet.obey()
    expect(page.get_by_text("web", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#table")).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("Updated at")


def test_an_admin_disables_a_host_by_keyboard_and_enables_it_without_scripts(browser: Browser, url: str, page: Page) -> None:
    page.goto("/ui/hosts/c2")
    page.locator("#disable").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Disable c2?")
    expect(page.get_by_role("listitem").first).to_have_text("c2 takes no new guests.")
    assert violations(page) == []
    page.get_by_label("Reason").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("c2: disabled")
    with opened(browser, url, java_script_enabled=False) as plain:
        sign_in(plain)
        plain.goto("/ui/hosts/c2")
        plain.get_by_role("link", name="Enable it").click()
        plain.get_by_role("button", name="Enable c2").click()
        expect(plain.get_by_role("heading", level=1)).to_have_text("c2: up")


def test_an_admin_re_pins_a_guest_from_the_page_and_sees_it_arrive(browser: Browser, url: str, page: Page, fleet: Fleet) -> None:
    c3 = fleet.agents["c3"]
    guest = fleet.create(f"moved {HOSTILE}", "share", host="c3")
    fleet.obey()
    pcpu = c3.order(guest)["claim"]["fit"]["cells"][0]["pins"][0][1]
    pools = c3.reported.pools
    c3.hello(replace(c3.reported, pools=replace(pools, dedicated=pools.dedicated - CpuSet.of(pcpu))))
    page.goto("/ui/hosts/c3")
    page.locator("#repin").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Re-pin guests of c3?")
    expect(page.get_by_text(f"retiring pCPU {pcpu} becomes free of guests")).to_be_visible()
    assert violations(page) == []
    assert page.title() != "taken"
    with opened(browser, url, viewport={"width": 320, "height": 640}) as narrow:
        sign_in(narrow)
        narrow.goto("/ui/hosts/c3/repin")
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 320
    page.goto("/ui/hosts/c3/pools?shared=0-2&dedicated=3-7")
    expect(page.get_by_role("button", name="Order these pools")).to_be_visible()
    assert violations(page) == []
    page.go_back()
    page.get_by_role("button", name="Move 1 guest").click()
    expect(page.get_by_text("1 guest on the way to their new places")).to_be_visible()
    fleet.obey()
    expect(page.get_by_text("1 guest moved.")).to_be_visible(timeout=PATIENCE_MS)


def test_drift_appears_on_the_open_page_and_is_repaired_from_it(page: Page, fleet: Fleet) -> None:
    c3 = fleet.agents["c3"]
    guest = fleet.create(f"astray {HOSTILE}", "share", host="c3")
    fleet.obey()
    finds(c3)
    page.goto("/ui/hosts/c3")
    expect(page.get_by_text("None, as its agent reported at")).to_be_visible()
    finds(c3, drift(guest, f"astray {HOSTILE}"))
    page.get_by_role("link", name="Repair astray").click(timeout=PATIENCE_MS)
    expect(page.get_by_role("cell", name="0-39", exact=True)).to_be_visible()
    assert violations(page) == []
    assert page.title() != "taken"
    page.locator("#confirm").click()
    expect(page.get_by_text("its agent has not answered yet")).to_be_visible()
    answered = RepairAnswer(number=c3.orders()["repairs"][0]["number"], result=RepairResult.DONE, sentence="moved, and read back in place")
    assert c3.ask("PUT", f"/guests/{guest}/repair", plain(answered)).status_code == 204
    finds(c3)
    expect(page.get_by_text("repaired: moved, and read back in place")).to_be_visible(timeout=PATIENCE_MS)


def test_without_scripts_the_page_says_the_same(browser: Browser, url: str) -> None:
    with opened(browser, url, java_script_enabled=False) as page:
        sign_in(page)
        expect(page.locator("#host-c1")).to_be_visible()
        page.goto("/ui/hosts/c1")
        expect(page.get_by_text("taskset -pc 2 71")).to_be_visible()


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_everything_is_reached_by_keyboard_and_focus_is_seen(page: Page, fleet: Fleet, path: str) -> None:
    page.goto(path_of(fleet, path))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    reached = set()
    for _ in range(int(page.evaluate("document.querySelectorAll('a, button, select, input, summary, [tabindex]').length"))):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    controls = "a[id], button[id], select[id], input[id]:not([type=hidden]), summary[id]"
    wanted = set(page.evaluate(f"[...document.querySelectorAll('{controls}')].map(one => one.id)"))
    assert wanted
    assert wanted <= reached


def test_a_host_is_opened_by_keyboard(page: Page) -> None:
    page.goto("/ui")
    page.locator("#host-c1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("c1: up")


@pytest.mark.parametrize("path", (PAGES | PLANS).values(), ids=PAGES | PLANS)
def test_a_narrow_window_does_not_scroll_sideways(browser: Browser, url: str, fleet: Fleet, path: str) -> None:
    with opened(browser, url, viewport={"width": 320, "height": 640}) as page:
        sign_in(page)
        page.goto(path_of(fleet, path))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_a_hostile_name_is_text_and_nothing_else(page: Page, fleet: Fleet, path: str) -> None:
    page.goto(f"{path_of(fleet, path)}?guest=script")
    assert page.title() != "taken"
    assert page.locator("img[src]").count() == 0
    assert page.locator("script:not([src])").count() == 0
    assert "\u202e" not in page.content()
    expect(page.get_by_text("</title><script>").first).to_be_attached()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, url: str, fleet: Fleet, scheme: str) -> None:
    with opened(browser, url, color_scheme=scheme) as page:
        page.goto("/ui/sign-in")
        assert violations(page) == []
        sign_in(page, *READER)
        for path in PAGES.values():
            assert_nothing_serious(page, path_of(fleet, path))
    with opened(browser, url, color_scheme=scheme) as page:
        sign_in(page)
        for path in (PAGES | PLANS).values():
            assert_nothing_serious(page, path_of(fleet, path))


def assert_nothing_serious(page: Page, path: str) -> None:
    page.goto(path)
    for part in page.locator("summary").all():
        part.click()
    assert violations(page) == [], path


def test_light_and_dark_follow_the_preference(browser: Browser, url: str) -> None:
    papers = []
    for scheme in ("light", "dark"):
        with opened(browser, url, color_scheme=scheme) as page:
            page.goto("/ui/sign-in")
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(number) for number in re.findall(r"\d+", paper)[:3]] for paper in papers)
    assert min(light) > 200
    assert max(dark) < 60


def test_nothing_moves_for_those_who_want_no_motion(browser: Browser, url: str) -> None:
    with opened(browser, url, reduced_motion="reduce") as page:
        sign_in(page)
        moving = "[...document.querySelectorAll('*')].filter(one => getComputedStyle(one).animationName !== 'none').length"
        assert page.evaluate(moving) == 0


def test_the_scripts_and_the_page_are_small_and_nothing_comes_from_elsewhere(page: Page, url: str) -> None:
    cdp = page.context.new_cdp_session(page)
    cdp.send("Network.enable")
    cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})  # what comes out of the cache is not always told
    with page.expect_response(f"{url}/ui/live.js") as script:
        document = page.goto("/ui/hosts/c1")
    assert document is not None
    assert len(script.value.body()) <= 60 * 1024
    assert len(document.body()) <= 150 * 1024, "with the maps of an hour of 40 pCPUs"
    loaded = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    assert {f"{url}/ui/live.js", f"{url}/ui/style.css"} <= set(loaded)
    assert all(one.startswith(f"{url}/") for one in loaded), loaded
    assert page.locator("script").count() == 1
