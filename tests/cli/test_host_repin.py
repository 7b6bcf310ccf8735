"""The screen of `pinfold host repin` for a host of the service: the plan, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from tests.build.hosts import cpus

from pinfold.cli.views.host_repin import host_repin_view, progress_view
from pinfold.core.ledger import Role
from pinfold.core.repin.plan import PcpuMove
from pinfold.core.repin.progress import Phase
from pinfold.core.repin.written import HostRepin, WrittenMove, WrittenProgress, WrittenStay, WrittenStep

MOVES = (PcpuMove(role=Role.VCPU, vcpu=0, before=cpus("2"), after=cpus("5")),)


def text(lines: Sequence[RenderableType]) -> str:
    """What is printed, with single spaces."""
    console = Console(width=200)
    with console.capture() as captured:
        for line in lines:
            console.print(line)
    return "\n".join(" ".join(line.split()) for line in captured.get().splitlines())


def plan(*steps: WrittenStep, last: WrittenProgress | None = None, stays: tuple[WrittenStay, ...] = ()) -> HostRepin:
    return HostRepin(
        host="c 1",
        revision=7,
        steps=steps,
        gain=("retiring pCPU 2 becomes free of guests",) if steps else (),
        no_move="" if steps else "no move helps: nothing retires",
        freed=cpus("2"),
        slots=(),
        sizes=(),
        stays=stays,
        not_counted=(),
        last=last,
    )


def progress(phase: Phase, failure: str = "") -> WrittenProgress:
    moves = (
        WrittenMove(id="a", name="web", moves=MOVES, arrived=True, why=""),
        WrittenMove(id="b", name="db\x1b[2J", moves=MOVES, arrived=False, why="pCPU 2 is offline"),
    )
    return WrittenProgress(phase=phase, guests=moves, failure=failure)


def test_a_plan_has_its_moves_its_gain_and_the_command_that_carries_it_out() -> None:
    shown = text(
        host_repin_view(
            plan(WrittenStep(id="a", name="web", moves=MOVES)), applied=False, applying="pinfold host repin 'c 1' --flavor big --apply"
        )
    )
    assert "1 web vCPU 0 2 5" in shown
    assert "• retiring pCPU 2 becomes free of guests" in shown
    assert "1 guest to move; `pinfold host repin 'c 1' --flavor big --apply` moves them, without a restart" in shown
    assert "--apply" not in text(host_repin_view(plan(WrittenStep(id="a", name="web", moves=MOVES)), applied=True, applying=""))


def test_who_keeps_its_pcpus_and_why_no_move_helps() -> None:
    shown = text(
        host_repin_view(
            plan(stays=(WrittenStay(id="a", name="web", pcpus=cpus("2"), why="it does not run"),)),
            applied=False,
            applying="pinfold host repin 'c 1' --flavor big --apply",
        )
    )
    assert "• guest web keeps pCPU 2: it does not run" in shown and "no move helps: nothing retires" in shown


def test_what_became_of_a_plan() -> None:
    assert "✓ 2 guests moved" in text(progress_view(progress(Phase.MOVED)))
    undone = text(progress_view(progress(Phase.UNDONE, "guest db was not moved: no")))
    assert "✗ guest db was not moved: no" in undone and "every guest is where it was" in undone
    moving = text(
        host_repin_view(plan(last=progress(Phase.MOVING)), applied=False, applying="pinfold host repin 'c 1' --flavor big --apply")
    )
    assert "2 guests on the way to their new places:" in moving and "• guest web is there" in moving
    back = text(progress_view(progress(Phase.TURNING_BACK, "guest db was not moved: no")))
    assert "2 guests on the way back to where they were:" in back and "is on its way: pCPU 2 is offline" in back
    assert "\x1b[2J" not in back
