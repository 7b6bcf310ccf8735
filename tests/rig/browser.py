"""A real headless Chromium, driven by Playwright.

The browser is Debian's package `chromium`; Playwright downloads none. axe-core comes in the wheel of axe-playwright-python.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.rig.in_process import ADMIN

needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's package chromium is not installed")
PATIENCE_MS = 60_000
"""How long a page may take on a busy machine."""
expect.set_options(timeout=PATIENCE_MS)  # it waits 5 seconds by itself, whatever the context's patience


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Chromium refuses to run as root with its sandbox, and tests run as root."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page of its own session. It fails the test if the page breaks its own policy, or a script of it fails."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(PATIENCE_MS)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
    assert not [text for text in wrong if "Content Security Policy" in text or "Error:" in text], wrong


def sign_in(page: Page, name: str = ADMIN[0], password: str = ADMIN[1]) -> None:
    """Type name and password."""
    page.goto("/ui")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    results = Axe().run(page)
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in results.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
