"""`pinfold host history`: its screen, and how it asks a watch. Watches of real guests are in `tests/real/host/test_watch.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import RenderableType
from tests.cli.conftest import Pinfold

from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.screen import Screen
from pinfold.cli.views.host_history import host_history_view
from pinfold.core.encoding import plain
from pinfold.core.errors import InvalidRequest
from pinfold.core.history import GuestHistory, HostHistory, PcpuHistory, PoolHistory
from pinfold.core.overhead import ThreadClass
from pinfold.watch import listener
from pinfold.watch.history import answer

NOON = 1_795_003_200.0


def history(samples: int = 6, *, missing: range = range(0)) -> HostHistory:
    """Two guests and two pCPUs, one of them starving more and more; the samples in `missing` were not taken."""
    there = [place for place in range(samples) if place not in missing]
    work, grows = tuple(100 for _ in there), tuple(100 * place for place in there)
    return HostHistory(
        host="c01",
        step_seconds=10.0,
        ends=tuple(NOON + 10.0 * (place + 1) for place in there),
        seconds=tuple(10.0 for _ in there),
        pcpus=(
            PcpuHistory(pcpu=0, work_millicpu=work, wait_millicpu=tuple(0 for _ in there)),
            PcpuHistory(pcpu=7, work_millicpu=work, wait_millicpu=grows, others_millicpu=work),
        ),
        guests=(
            GuestHistory(guest="id-1", name="db", thread_class=ThreadClass.VCPU, work_millicpu=work, wait_millicpu=grows),
            GuestHistory(
                guest="id-2",
                name="web",
                thread_class=ThreadClass.EMULATOR,
                work_millicpu=tuple(None if place == 2 else 0 for place in there),
                wait_millicpu=tuple(3 for _ in there),
            ),
        ),
        pools=(PoolHistory(pool="overhead", work_millicpu=work, wait_millicpu=work),),
    )


def screen(found: HostHistory, width: int = 80) -> list[str]:
    """The lines of the screen."""
    lines: list[RenderableType] = list(host_history_view(found, width))
    target = Screen(width=width)
    with target.capture() as captured:
        for line in lines:
            target.print(line)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_each_row_has_a_bar_for_each_part_of_the_time_and_a_gap_is_no_zero() -> None:
    assert screen(history()) == [
        "c01: 12:00:00 to 12:01:00 UTC, a bar is 10 s",
        "                       ------   mean   most",
        "pool overhead  work    ██████   0.10   0.10",
        "               waits   ██████   0.10   0.10",
        "db vcpu        work    ██████   0.10   0.10",
        "               waits   ▁▂▄▅▇█   0.25   0.50",
        "web emulator   work    ▁▁·▁▁▁   0.00   0.00",
        "pCPU 0         work    ██████   0.10   0.10",
        "pCPU 7         work    ██████   0.10   0.10",
        "               waits   ▁▂▄▅▇█   0.25   0.50",
        "               others  ██████   0.10   0.10",
        "in CPUs; a full bar is the most of its row; · not measured",
        "others: what anyone but the owner ran on pCPUs that a guest has alone",
    ]


def test_samples_that_were_not_taken_leave_a_gap_in_every_row() -> None:
    bars = [re.search(r"[▁▂▃▄▅▆▇█·]{6}", line) for line in screen(history(missing=range(2, 4)))]
    assert {found[0][2:4] for found in bars if found} == {"··"}


def test_an_hour_fits_into_the_width_of_the_screen() -> None:
    for width in (60, 80, 132):
        lines = screen(history(360), width)
        assert max(map(len, lines)) <= width
        assert lines[1].split() == ["12:00", "13:00", "mean", "most"]
        assert len(lines) >= 13


def test_a_host_without_samples_says_so() -> None:
    assert screen(HostHistory(host="c01", step_seconds=10.0)) == ["c01: no samples yet; the first one is there after two sweeps"]


@contextmanager
def watch(folder: Path, found: HostHistory) -> Iterator[Path]:
    """What listens as a watch does that has these samples, and the configuration of its host."""
    (folder / "state").mkdir()
    page = listener.Page(content_type="application/json", render=lambda fields: answer(lambda _: found, fields))
    config = folder / "host.conf"
    config.write_text(f"[pinfold]\nstate_dir = {folder / 'state'}\n")
    with listener.serving(str(folder / "state/watch.sock"), {listener.HISTORY: page}):
        yield config


def test_the_command_asks_the_watch_in_the_state_directory(pinfold: Pinfold, tmp_path: Path) -> None:
    with watch(tmp_path, history()) as config:
        shown = pinfold("host", "history", "--config", str(config))
        assert (shown.status, shown.err) == (0, "")
        assert "pool overhead" in shown.out
        found = json.loads(pinfold("host", "history", "--config", str(config), "--json").out)
        assert found == plain(history())
        named = pinfold("host", "history", "--from", f"unix:{tmp_path}/state/watch.sock", "--json")
        assert json.loads(named.out) == found


def test_one_guest_and_some_pcpus_can_be_chosen(pinfold: Pinfold, tmp_path: Path) -> None:
    with watch(tmp_path, history()) as config:

        def rows(*options: str) -> tuple[list[str], list[int], int]:
            found = json.loads(pinfold("host", "history", "--config", str(config), "--json", *options).out)
            return [one["name"] for one in found["guests"]], [one["pcpu"] for one in found["pcpus"]], len(found["pools"])

        assert rows("--guest", "web") == rows("--guest", "id-2") == (["web"], [], 0)
        assert rows("--pcpus", "5-9") == ([], [7], 0)
        assert rows("--guest", "db", "--pcpus", "0") == (["db"], [0], 0)
        nobody = pinfold("host", "history", "--config", str(config), "--guest", "nobody")
        assert (nobody.status, nobody.out) == (ExitStatus.BAD_INPUT, "")
        assert "no samples of a guest 'nobody'" in nobody.err


def test_without_a_watch_the_command_says_where_it_asked(pinfold: Pinfold, tmp_path: Path) -> None:
    config = tmp_path / "host.conf"
    config.write_text(f"[pinfold]\nstate_dir = {tmp_path}\n")
    gone = pinfold("host", "history", "--config", str(config))
    assert gone.status == ExitStatus.UNAVAILABLE
    assert f"no watch answers at unix:{tmp_path}/watch.sock: No such file or directory" in " ".join(gone.err.split())
    bad = pinfold("host", "history", "--from", "10.0.0.1:80")
    assert bad.status == ExitStatus.BAD_INPUT
    assert "--from 10.0.0.1:80" in bad.err


def test_something_else_that_listens_there_is_no_watch(pinfold: Pinfold, tmp_path: Path) -> None:
    pages = {listener.HISTORY: listener.Page(content_type="text/plain", render=lambda _: b'{"host": 7}')}
    with listener.serving(str(tmp_path / "s"), pages):
        found = pinfold("host", "history", "--from", f"unix:{tmp_path}/s")
    assert found.status == ExitStatus.UNAVAILABLE
    assert "is no history" in found.err
    with listener.serving(str(tmp_path / "s"), {}):
        found = pinfold("host", "history", "--from", f"unix:{tmp_path}/s")
    assert found.status == ExitStatus.UNAVAILABLE
    assert "HTTP 404" in found.err


@pytest.mark.parametrize("fields", [{"seconds": "0"}, {"seconds": "3601"}, {"seconds": "-1"}, {"seconds": "1e3"}, {"minutes": "5"}])
def test_wrong_fields_of_the_question_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="is allowed"):
        answer(lambda _: history(), fields)
