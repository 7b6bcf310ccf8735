"""A guest across the cells: its rows, what lies outside, and that names are text."""

from __future__ import annotations

from xml.etree import ElementTree

from msgspec.structs import replace
from tests.build.fits import holding
from tests.build.hosts import cpus
from tests.drawing.test_svg import HOSTILE

from pinfold.core.drift import SeenThread
from pinfold.core.fit.answer import Fit
from pinfold.core.hosttext import host
from pinfold.core.overhead import ThreadClass
from pinfold.drawing.guest_strip import guest_svg, local_share, rows_of, strip_words

TOPOLOGY = host("pack:2 core:8 pu:2 mem:1024")
CELLS = {cell.id: cell.cpus for cell in TOPOLOGY.cells}


def guest(vcpus: str = "2-3") -> Fit:
    """A guest on cell 0, with 512 MiB there, whose emulator threads run on pCPUs 0-1."""
    fit = holding(TOPOLOGY.cell_of, cpus(vcpus))
    return replace(fit, emulator=cpus("0-1"), cells=tuple(replace(cell, memory_mib=512) for cell in fit.cells))


def thread(kind: ThreadClass, allowed: str, vcpu: int | None = None) -> SeenThread:
    return SeenThread(tid=70 + (vcpu or 0), name="x", thread_class=kind, vcpu=vcpu, allowed=cpus(allowed))


def test_what_is_not_seen_is_not_known_and_not_wrong() -> None:
    rows = rows_of(guest(), (), None)
    assert [row.label for row in rows] == ["vCPU 0", "vCPU 1", "emulator", "memory"]
    assert not any(row.wrong for row in rows)
    assert strip_words(rows[0], CELLS) == (("2", "not known"), ("-", "not known"))
    assert "2?" in guest_svg("web", rows, CELLS)


def test_a_line_leads_only_to_what_lies_in_another_cell() -> None:
    at_home = (thread(ThreadClass.VCPU, "2", 0), thread(ThreadClass.VCPU, "3", 1), thread(ThreadClass.EMULATOR, "0-1"))
    assert "pf-astray" not in guest_svg("web", rows_of(guest(), at_home, {0: 500}), CELLS)
    away = (*at_home, thread(ThreadClass.EMULATOR, "0-31"), thread(ThreadClass.IOTHREAD, "0"))
    rows = rows_of(guest(), away, {0: 384, 1: 128})
    assert [(row.label, row.wrong) for row in rows] == [
        ("vCPU 0", False),
        ("vCPU 1", False),
        ("emulator", True),
        ("iothread", False),
        ("memory", True),
    ]
    assert guest_svg("web", rows, CELLS).count("pf-astray") == 2
    assert local_share(rows[-1]) == 75


def test_the_share_of_local_memory_is_not_known_where_nobody_looked() -> None:
    assert local_share(rows_of(guest(), (), None)[-1]) is None


def test_of_many_vcpus_those_in_their_place_share_a_row() -> None:
    fit = guest("2-7,16-31")
    seen = [thread(ThreadClass.VCPU, str(pcpu) if vcpu != 5 else "0-31", vcpu) for vcpu, pcpu in fit.pins]
    rows = rows_of(fit, seen, None)
    assert [row.label for row in rows if row.label.startswith("vCPU") or "vCPUs" in row.label] == [f"{len(fit.pins) - 1} vCPUs", "vCPU 5"]


def test_a_hostile_name_is_text() -> None:
    text = guest_svg(HOSTILE, rows_of(guest(), (), None), CELLS)
    ElementTree.fromstring(text)
    assert "<script" not in text
