"""`PlanView`: a plan as pages show it, step by step, with what it costs and what it gains. It takes any plan of moves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.ledger import Role
from pinfold.core.plural import count, pcpus
from pinfold.core.repin.plan import PcpuMove
from pinfold.drawing.tiles import FREE


class PlanMove(Struct, frozen=True, kw_only=True):
    """What of a guest moves, from where to where: pCPUs, in a plan of pCPUs."""

    what: str
    before: str
    after: str


class PlanStep(Struct, frozen=True, kw_only=True):
    """One step: a guest, by its letters on the map and its name, and what of it moves."""

    letters: str
    name: str
    moves: tuple[PlanMove, ...]


class PlanRow(Struct, frozen=True, kw_only=True):
    """What pCPUs hold at one moment of a plan, and whether that differs from the row before."""

    label: str
    cells: tuple[tuple[str, bool], ...]


class PlanView(Struct, frozen=True, kw_only=True):
    """A plan. `pcpus` are those that it touches, ascending, and `rows` what they hold now and after each step.

    `cost`, `gain` and `left` are sentences; `left` says what the plan does not change, and why.
    """

    steps: tuple[PlanStep, ...] = ()
    pcpus: tuple[int, ...] = ()
    rows: tuple[PlanRow, ...] = ()
    cost: tuple[str, ...] = ()
    gain: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def repin_view(
    steps: Iterable[tuple[str, str, tuple[PcpuMove, ...]]],
    now: Mapping[int, str],
    *,
    gain: tuple[str, ...],
    loss: tuple[str, ...] = (),
    left: tuple[str, ...] = (),
) -> PlanView:
    """The view of a re-pin. `steps` are `(letters, name, moves)`; `now` has what the map shows of each pCPU. `loss` says what
    the plan loses, beside what every plan costs.

    >>> move = PcpuMove(role=Role.VCPU, vcpu=0, before=CpuSet.of(2), after=CpuSet.of(5))
    >>> view = repin_view([("A", "web", (move,))], {2: "A0", 5: "·"}, gain=())
    >>> view.pcpus, [(row.label, row.cells) for row in view.rows]
    ((2, 5), [('now', (('A0', False), ('·', False))), ('after step 1', (('·', True), ('A0', True)))])
    """
    found = tuple(steps)
    touched = sorted({pcpu for _, _, moves in found for move in moves for pcpu in move.before | move.after})
    held = {pcpu: now.get(pcpu, FREE) for pcpu in touched}
    rows = [PlanRow(label="now", cells=tuple((held[pcpu], False) for pcpu in touched))]
    for number, (letters, _, moves) in enumerate(found, 1):
        before = dict(held)
        held |= dict.fromkeys((pcpu for move in moves for pcpu in move.before), FREE)
        held |= {pcpu: letters + _suffix(move) for move in moves for pcpu in move.after}
        cells = tuple((held[pcpu], held[pcpu] != before[pcpu]) for pcpu in touched)
        rows.append(PlanRow(label=f"after step {number}", cells=cells))
    return PlanView(
        steps=tuple(PlanStep(letters=letters, name=name, moves=tuple(_move(move) for move in moves)) for letters, name, moves in found),
        pcpus=tuple(touched) if found else (),
        rows=tuple(rows) if found else (),
        cost=(*loss, *_cost(found)),
        gain=gain,
        left=left,
    )


def _cost(steps: tuple[tuple[str, str, tuple[PcpuMove, ...]], ...]) -> tuple[str, ...]:
    if not steps:
        return ()
    guests = len({letters for letters, _, _ in steps})
    vcpus = sum(move.role is Role.VCPU for _, _, moves in steps for move in moves)
    held = CpuSet(pcpu for _, _, moves in steps for move in moves for pcpu in move.before)
    steps_of = f"{count(guests, 'running guest')} {'moves' if guests == 1 else 'move'} in {count(len(steps), 'step')}"
    return (
        f"{steps_of}, without a restart: {count(vcpus, 'vCPU')} {'moves and finds' if vcpus == 1 else 'move and find'} cold caches there",
        "memory stays where it is: every move is inside a cell of the host",
        f"until all guests have arrived, nothing else may take {pcpus(str(held))}",
    )


def _move(move: PcpuMove) -> PlanMove:
    what = {Role.VCPU: f"vCPU {move.vcpu}", Role.EMULATOR: "isolated emulator"}.get(move.role, "idle siblings")
    return PlanMove(what=what, before=str(move.before), after=str(move.after))


def _suffix(move: PcpuMove) -> str:
    """As the map writes it."""
    return {Role.VCPU: str(move.vcpu), Role.EMULATOR: "e"}.get(move.role, "-")
