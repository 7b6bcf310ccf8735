"""Write the fault of a guest that hosts refused or failed to start, and keep the refusals of a guest that has no fault. Pure."""

from __future__ import annotations

from typing import Final

from pinfold.scheduler.model import HostRefusal
from pinfold.store.records import Fault, GuestRecord, Pairs

_FAILED_ON: Final = "failed_on:"
"""One detail for each host that the guest's start failed on: this and the host's id, and the sentence that says why."""
_REFUSED: Final = "refused"
"""One line for each host that refused before another one took the guest: its revision, its name, and the sentence."""
_LONGEST: Final = 4096


def refused_by(guest: GuestRecord) -> tuple[tuple[str, int | None, str], ...]:
    """`(host name, revision, sentence)` of every host that did not take the guest, by name, from its fault or from the attempts before it
    was placed. The revision is the host's at the decision, None if the start failed there.
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
    """`(host name, sentence)` of every host on which the guest's start failed, ordered by name."""
    told = (text.partition(": ") for key, text in guest.details if key.startswith(_FAILED_ON))
    return tuple(sorted((name, sentence) for name, _, sentence in told))


def failed_on(guest: GuestRecord) -> frozenset[str]:
    """The ids of the hosts on which the guest's start failed."""
    return frozenset(key.removeprefix(_FAILED_ON) for key, _ in guest.details if key.startswith(_FAILED_ON))


def with_failed_start(guest: GuestRecord, host_id: str, name: str, failure: str) -> Pairs:
    """The guest's details plus the failed start on that host, ordered by key."""
    return tuple(sorted((dict(guest.details) | {f"{_FAILED_ON}{host_id}": f"{name}: the start failed: {failure}"}).items()))


def with_refusals(guest: GuestRecord, refusals: tuple[HostRefusal, ...]) -> Pairs:
    """The guest's details plus the hosts that refused before another one took it, as many as there is room for; ordered by key."""
    told = "".join(f"{refusal.revision} {refusal.sentence()}\n" for refusal in refusals)
    return tuple(sorted((dict(guest.details) | {_REFUSED: told[: told.rfind("\n", 0, _LONGEST)]}).items()))


def nowhere(guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> Fault:
    """The fault of a guest that has no host, including the starts that failed before."""
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
