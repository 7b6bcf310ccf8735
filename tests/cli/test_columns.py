"""Lists on narrow screens: every letter of every cell is shown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs
from rich.console import RenderableType
from rich.text import Text
from tests.cli.test_host_map import CORES, ISOLATE, PINNED, SHARE, survey

from pinfold.cli.output import show
from pinfold.cli.screen import Hanging, Screen
from pinfold.cli.views.audit import audit_view
from pinfold.cli.views.columns import Columns
from pinfold.cli.views.guests import guests_view
from pinfold.cli.views.host_map import host_map_view
from pinfold.cli.views.proof import findings_lines, guest_head
from pinfold.core.drift import Finding, FindingCode
from pinfold.drivers.port import HostGuest, Record
from pinfold.host.audit import Audit
from pinfold.host.map import map_of
from pinfold.host.survey import Survey, pick
from pinfold.host.verify import Verdict

WIDTHS = (20, 40, 60, 80, 120)


def printed(lines: Sequence[RenderableType], width: int) -> list[str]:
    screen = Screen(width=width)
    with screen.capture() as captured:
        for line in lines:
            screen.print(line)
    return [line.rstrip() for line in captured.get().splitlines()]


def letters(text: str) -> list[str]:
    """The letters and digits of a text in alphabetical order: folding and the place of a cell change nothing about them."""
    return sorted(sign for sign in text if sign.isalnum())


def seen_with(names: str) -> Survey:
    seen = survey("pack:2 core:8 pu:2 mem:16384", "0-3,16-19", "4-15,20-31", [(2, SHARE), (2, ISOLATE), (2, CORES), (2, PINNED)])
    guests = [structs.replace(guest, name=names.format(guest.id), record=_flavored(guest)) for guest in seen.guests]
    return structs.replace(seen, guests=tuple(guests))


def _flavored(guest: HostGuest) -> Record:
    assert guest.record is not None
    return structs.replace(guest.record, flavor="isolate-large")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("names", ["vm{0:.8}", "instance-{0}"], ids=["short names", "names of the service"])
class TestNothingIsLost:
    def test_in_a_list_of_guests(self, names: str, width: int) -> None:
        seen = seen_with(names)
        lines = guests_view(seen.guests, seen)
        assert letters("".join(printed(lines, width))) == letters("".join(printed(lines, 400)))

    def test_in_an_audit(self, names: str, width: int) -> None:
        seen = seen_with(names)
        finding = Finding(code=FindingCode.THREADS_UNSETTLED, guest="vm", repair="virsh emulatorpin vm 0")
        audits = [Verdict(guest=guest, findings=(finding,)) for guest in seen.guests]
        lines = audit_view(Audit(seen=seen, guests=tuple(audits), host_findings=(), verified=True))[:1]
        assert letters("".join(printed(lines, width))) == letters("".join(printed(lines, 400)))

    def test_in_the_guests_of_a_map(self, names: str, width: int) -> None:
        seen = seen_with(names)
        lines = [line for line in host_map_view(seen, map_of(seen), 400) if isinstance(line, Columns)]
        assert len(lines) == 2
        assert letters("".join(printed(lines, width))) == letters("".join(printed(lines, 400)))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_short_words_stay_whole_where_there_is_room_for_them(width: int) -> None:
    seen = seen_with("instance-{0}")
    words = " ".join(printed(guests_view(seen.guests, seen), width)).split()
    assert {"running", "isolate"} <= set(words)


def test_a_sentence_that_fits_on_one_line_is_not_folded() -> None:
    assert printed([Hanging("x" * 18 + " y")], 20) == ["x" * 18 + " y"]


def test_later_lines_of_a_sentence_are_indented() -> None:
    assert printed([Hanging("one two three four five six seven")], 20) == ["one two three four", "    five six seven"]
    assert printed([Hanging("a" * 45)], 20) == ["a" * 20, "    " + "a" * 16, "    " + "a" * 9]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_server_of_the_service_is_shown_by_its_name_above_the_hypervisor_s(width: int) -> None:
    seen = seen_with("instance-{0:.8}")
    guests = [
        structs.replace(guest, record=structs.replace(_flavored(guest), server=f"vm{place}")) for place, guest in enumerate(seen.guests)
    ]
    seen = structs.replace(seen, guests=tuple(guests))
    audits = tuple(Verdict(guest=guest) for guest in guests)
    for lines in (
        guests_view(guests, seen),
        audit_view(Audit(seen=seen, guests=audits, host_findings=(), verified=True)),
        host_map_view(seen, map_of(seen), width),
    ):
        assert {"vm0", "vm1", "vm2", "vm3"} <= set(" ".join(printed(lines, width)).split())
    assert "vm2 (instance-00000002): running" in printed(guest_head(pick(seen.guests, "vm2")), width)[0]


def test_advice_that_findings_of_one_guest_share_is_given_once() -> None:
    advice = "stop the guest and give it a place in the pools of today"
    outside = Finding(code=FindingCode.OUTSIDE_POOL, guest="a", subject="its pins", observed="1", recorded="2", advice=advice)
    part = structs.replace(outside, code=FindingCode.POOL_PART, subject="its overhead threads")
    lines = printed(findings_lines([outside, part, structs.replace(outside, guest="b")]), 120)
    assert [line.strip() == advice for line in lines] == [False, False, True, False, True]


def test_the_later_lines_of_any_long_text_are_indented(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    show(["one two three four five six", Text("  one two three four five six")])
    assert capsys.readouterr().out.splitlines() == ["one two three four", "    five six", "  one two three four", "      five six"]
