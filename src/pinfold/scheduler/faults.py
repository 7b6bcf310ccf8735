"""What is told of a guest that hosts refused or failed to start: its fault, and what is kept of them while it has none. Pure.

Why a host refuses does not belong here (`core.fit`), nor when a guest is in error (`lifecycle`, `reports`).
"""

from __future__ import annotations

from typing import Final

from pinfold.scheduler.model import HostRefusal
from pinfold.store.model import Fault, GuestRecord, Pairs

_FAILED_ON: Final = "failed_on:"
"""One detail for each host that the guest's start failed on: this and the host's id, and the sentence that says why."""
_REFUSED: Final = "refused"
"""One line for each host that refused before another one took the guest: its revision, its name, and the sentence."""
_LONGEST: Final = 4096


def refused_by(guest: GuestRecord) -> tuple[tuple[str, int | None, str], ...]:
    """`(host name, revision, sentence)` of every host that did not take the guest, by name: of its fault, or of those tried before one took
    it. The revision is the host's that the refusal was decided on, None where the start failed there.
    """
    if guest.fault is not None:
        at = dict(guest.fault.revisions)
        return tuple((name, at.get(name), sentence) for name, sentence in guest.fault.reasons)
    told: list[tuple[str, int | None, str]] = [(name, None, sentence) for name, sentence in failed_starts(guest)]
    for line in dict(guest.details).get(_REFUSED, "").splitlines():
        revision, _, refusal = line.partition(" ")
        name, _, sentence = refusal.partition(": ")
        told.append((name, int(revision), sentence))
    return tuple(sorted(told, key=lambda one: (one[0], one[2])))


def failed_starts(guest: GuestRecord) -> Pairs:
    """`(host name, sentence)` of every host that the guest's start failed on, ordered by name."""
    told = (text.partition(": ") for key, text in guest.details if key.startswith(_FAILED_ON))
    return tuple(sorted((name, sentence) for name, _, sentence in told))


def failed_on(guest: GuestRecord) -> frozenset[str]:
    """The ids of the hosts that the guest's start failed on."""
    return frozenset(key.removeprefix(_FAILED_ON) for key, _ in guest.details if key.startswith(_FAILED_ON))


def with_failed_start(guest: GuestRecord, host_id: str, name: str, failure: str) -> Pairs:
    """The guest's details, and that its start failed on that host; ordered by key."""
    return tuple(sorted((dict(guest.details) | {f"{_FAILED_ON}{host_id}": f"{name}: the start failed: {failure}"}).items()))


def with_refusals(guest: GuestRecord, refusals: tuple[HostRefusal, ...]) -> Pairs:
    """The guest's details, and the hosts that refused before another one took it, as many as there is room for; ordered by key."""
    told = "".join(f"{refusal.revision} {refusal.sentence()}\n" for refusal in refusals)
    return tuple(sorted((dict(guest.details) | {_REFUSED: told[: told.rfind("\n", 0, _LONGEST)]}).items()))


def nowhere(guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> Fault:
    """The fault of a guest that has no host; the starts that failed before are told with it."""
    failed = failed_starts(guest)
    return Fault(
        code=code,
        message="; ".join((message, *(f"{name}: {sentence}" for name, sentence in failed))),
        reasons=tuple(sorted(({told.name: told.no_fit.sentence() for told in refusals} | dict(failed)).items())),
        revisions=tuple(sorted((told.name, told.revision) for told in refusals if told.name not in dict(failed))),
    )


def in_place(name: str, failure: str) -> Fault:
    """The fault of a guest whose start failed on the host of that name, where it stays."""
    return Fault(code=500, message=f"The start failed on {name}: {failure}", reasons=((name, failure),))
