"""The written forms of a plan to re-pin guests, for `--json` and `/v1`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.capacity import NotCounted
from pinfold.core.identity import GuestId
from pinfold.core.repin.plan import PcpuMove, SizeChange, SlotChange, Step
from pinfold.core.repin.progress import Phase, Progress


class WrittenStep(Struct, frozen=True, kw_only=True):
    """One guest's moves inside its host cells."""

    id: str
    name: str
    moves: tuple[PcpuMove, ...]


class WrittenStay(Struct, frozen=True, kw_only=True):
    """The retiring pCPUs that a guest keeps, and why."""

    id: str
    name: str
    pcpus: CpuSet
    why: str


class WrittenMove(Struct, frozen=True, kw_only=True):
    """One guest of a plan that is or was carried out. `arrived`: its agent has reported it in its new place. `why` says why it could not be
    moved.
    """

    id: str
    name: str
    moves: tuple[PcpuMove, ...]
    arrived: bool
    why: str


class WrittenProgress(Struct, frozen=True, kw_only=True):
    """What became of the last plan of a host: its phase, the guests that move (or go back, or have), and why they go back, '' if they do
    not.
    """

    phase: Phase
    guests: tuple[WrittenMove, ...]
    failure: str


class HostRepin(Struct, frozen=True, kw_only=True):
    """The moves that help a host of the service at that revision, in their order, what they gain, and the last plan that was carried out.

    `gain` are sentences; `freed`, `slots` and `sizes` the same in numbers. `no_move` says why there is no step, '' if there is one. `last`
    is null for a host that was never re-pinned.
    """

    host: str
    revision: int
    steps: tuple[WrittenStep, ...]
    gain: tuple[str, ...]
    no_move: str
    freed: CpuSet
    slots: tuple[SlotChange, ...]
    sizes: tuple[SizeChange, ...]
    stays: tuple[WrittenStay, ...]
    not_counted: tuple[NotCounted, ...]
    last: WrittenProgress | None


def written_progress(progress: Progress, names: Mapping[str, str]) -> WrittenProgress:
    """The form of the progress of a plan; `names` are those of the host's guests by id. Pure."""
    return WrittenProgress(
        phase=progress.phase,
        guests=tuple(
            WrittenMove(
                id=move.guest,
                name=names.get(move.guest, move.guest),
                moves=Step(guest=GuestId(move.guest), before=move.before, after=move.after).moves,
                arrived=move.arrived,
                why=move.why,
            )
            for move in progress.moves
        ),
        failure=progress.failure,
    )
