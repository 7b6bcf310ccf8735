"""The marks of load: a strip's parts, and the bars of a pCPU."""

from __future__ import annotations

import re

from pinfold.core.load import Load
from pinfold.drawing.strip import marks, strip, strip_svg


def widths(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, width in re.findall(r'class="pf-(\w+)"[^/]* width="(\d+)"', text):
        found.setdefault(kind, []).append(width)
    return found


def test_a_strip_shows_booked_used_and_waiting_below_its_ceiling() -> None:
    text = strip(0, 0, 100, booked=250, total=1000, measured=Load(work=400, wait=300))
    assert widths(text) == {"bar": ["100"], "O": ["25"], "used": ["40"], "wait": ["30"]}


def test_a_strip_never_leaves_its_frame() -> None:
    text = strip(0, 0, 100, booked=5000, total=1000, measured=Load(work=900, wait=9000))
    assert widths(text) == {"bar": ["100"], "O": ["100"], "used": ["90"], "wait": ["10"]}
    assert "pf-beyond" in text, "an arrow says that it is cut"
    assert "pf-beyond" not in strip(0, 0, 100, booked=5000, total=1000, measured=Load(work=900, wait=100))


def test_a_strip_without_a_measurement_shows_what_is_booked() -> None:
    assert widths(strip_svg(booked=0, total=0, measured=None)) == {"bar": ["160"], "O": ["160"]}


def test_a_pcpu_that_waited_has_a_mark_and_an_idle_one_has_none() -> None:
    assert widths(marks(Load(work=1, wait=500, others=250), 0, 0, 40)) == {"wait": ["20"], "others": ["10"]}
    assert widths(marks(Load(work=1, wait=50), 0, 0, 40)) == {"wait": ["2"]}
    assert marks(Load(work=1, wait=49, others=49), 0, 0, 40) == "", "so little would look like dirt"
    assert marks(Load(work=900, wait=0), 0, 0, 40) == ""
    assert marks(Load(), 0, 0, 40) == "", "unknown is no zero, and the words say so"
