"""`pinfold watch --ui`: the page of one host without a service, in a real Chromium, beside a guest that `virsh` made."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.real.host.bench import Bench
from tests.real.host.domains import define
from tests.rig.browser import PATIENCE_MS, chromium, needs_chromium, opened, violations

PINS = "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>"

pytestmark = [needs_chromium, pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")]


@contextmanager
def page_of(bench: Bench, folder: Path) -> Iterator[str]:
    """The address of the page of a watch, which must end well."""
    config = folder / "watch.conf"
    config.write_text(
        f"[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n[libvirt]\nconnection_uri = {bench.lab.uri}\n"
        f"[pinfold]\nstate_dir = {folder / 'state'}\n"
    )
    line = [sys.executable, "-m", "pinfold", "watch", "--config", str(config), "--listen", "127.0.0.1:0", "--interval", "1", "--ui"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            lines = (
                match for one in process.stdout if (match := re.search(r"The page of the host is at (http://127.0.0.1:\d+/ui)\.", one))
            )
            yield next(lines)[1]
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0 and "Traceback" not in errors, errors
        finally:
            process.kill()


def test_the_page_of_a_watched_host_shows_a_guest_that_starts_while_it_is_open(bench: Bench, tmp_path: Path) -> None:
    if bench.lab.cgroups != "none":
        pytest.skip("the page does not depend on cgroups")
    with page_of(bench, tmp_path) as url, chromium() as browser, opened(browser, url.removesuffix("/ui")) as page:
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(": watched"))
        expect(page.get_by_role("img", name=re.compile("Host map of"))).to_be_visible()
        expect(page.get_by_role("button")).to_have_count(0)
        assert violations(page) == []
        define(bench, "web", cputune=PINS)
        expect(page.get_by_role("rowheader", name="web", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("status")).to_contain_text("Updated at")
        define(bench, "roams", cputune="")
        expect(page.get_by_role("listitem").filter(has_text="guest roams").first).to_contain_text("first reported", timeout=PATIENCE_MS)
        page.get_by_text("The same as a table: ").first.click()
        # Virtual machines of other tests may be bound to this machine's pCPUs, too, and the row names the first few of what is there.
        expect(page.get_by_role("row").filter(has_text=re.compile("may run here, and belongs? elsewhere"))).to_be_visible()
        page.set_viewport_size({"width": 320, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
