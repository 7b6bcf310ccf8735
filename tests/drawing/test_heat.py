"""The heat map of an hour: its columns, its gaps, which rows are kept, and that names are text."""

from __future__ import annotations

from xml.etree import ElementTree

from msgspec.structs import replace
from tests.drawing.test_svg import HOSTILE

from pinfold.core.history import GuestHistory, HostHistory, PcpuHistory
from pinfold.core.overhead import ThreadClass
from pinfold.drawing.heat import MOST_ROWS, by_guest, by_pcpu, heat_svg
from pinfold.drawing.strip import LEAST_MARK

TIMES = ("19:00", "19:30", "20:00")


def hour(*, samples: int = 360, pcpus: int = 2, guest: str = "web") -> HostHistory:
    """pCPU 0 is idle and nobody measured it in its first half; the others work and wait."""
    half = samples // 2
    idle = PcpuHistory(pcpu=0, work_millicpu=(None,) * half + (0,) * half, wait_millicpu=(None,) * half + (0,) * half)
    busy = [
        PcpuHistory(pcpu=number, work_millicpu=(900,) * samples, wait_millicpu=(number,) * (samples - 6) + (900,) * 6)
        for number in range(1, pcpus)
    ]
    zeros = (0,) * samples
    row = GuestHistory(guest="1", name=guest, thread_class=ThreadClass.EMULATOR, work_millicpu=zeros, wait_millicpu=zeros)
    return HostHistory(
        host="c1",
        step_seconds=10.0,
        ends=tuple(10.0 * place for place in range(samples)),
        seconds=(10.0,) * samples,
        pcpus=(idle, *busy),
        guests=(row,),
    )


def test_an_hour_has_sixty_columns_and_what_nobody_measured_is_a_gap() -> None:
    idle, busy = by_pcpu(hour()).rows
    assert (len(idle.work), idle.work[:30], idle.work[30:]) == (60, (None,) * 30, (0,) * 30)
    assert (busy.label, busy.mean_work, busy.peak, busy.wait[0]) == ("pCPU 1", 900, 900, 1)


def test_a_short_history_fills_the_last_columns() -> None:
    (first, _) = by_pcpu(hour(samples=12)).rows
    assert first.work[:58] == (None,) * 58
    assert first.work[59] == 0


def test_of_too_many_rows_those_that_waited_longest_are_kept_in_their_order() -> None:
    heat = by_pcpu(hour(pcpus=MOST_ROWS + 3))
    assert heat.left_out == 3
    assert [row.label for row in heat.rows] == [f"pCPU {number}" for number in range(3, MOST_ROWS + 3)]


def test_a_hostile_name_is_text() -> None:
    text = heat_svg(by_guest(hour(guest=HOSTILE)), "The last hour", TIMES)
    drawn = ElementTree.fromstring(text)
    assert "<script" not in text
    assert "\u202e" not in text
    assert [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")][-9:-6] != [HOSTILE]


def test_waiting_is_a_bar_and_a_gap_draws_nothing() -> None:
    text = heat_svg(by_pcpu(hour()), "The last hour", TIMES)
    assert text.count('class="pf-wait" d=') == 1, "pCPU 1 alone waited"
    assert text.count('class="pf-h0" d=') == 1
    assert text.count('class="pf-h4" d=') == 1


def test_less_waiting_than_the_legend_begins_with_has_no_bar() -> None:
    few = replace(hour(), pcpus=tuple(replace(row, wait_millicpu=(LEAST_MARK - 1,) * 360) for row in hour().pcpus))
    assert 'class="pf-wait" d=' not in heat_svg(by_pcpu(few), "The last hour", TIMES)


def test_a_large_host_stays_a_small_picture() -> None:
    assert len(heat_svg(by_pcpu(hour(pcpus=512)), "The last hour", TIMES)) < 150_000
