"""Write the fault of a guest that hosts refused or failed to start, and keep the refusals of a guest that has no fault. Pure."""

from __future__ import annotations

from typing import Final

from pinfold.core.identity import HostId
from pinfold.scheduler.model import HostRefusal
from pinfold.store.records import Fault, GuestRecord, Pairs, PastRefusal

_MOST_TEXT: Final = 4096
"""The most characters of all the refusals that are kept with a guest."""


def refused_by(guest: GuestRecord) -> tuple[PastRefusal, ...]:
    """Every host that did not take the guest, by name, from its fault or from the attempts before it was placed."""
    if guest.fault is not None:
        at = dict(guest.fault.revisions)
        return tuple(PastRefusal(host=name, revision=at.get(name), sentence=sentence) for name, sentence in guest.fault.reasons)
    failed = tuple(PastRefusal(host=name, revision=None, sentence=sentence) for name, sentence in failed_starts(guest))
    return tuple(sorted([*failed, *guest.refusals], key=lambda one: (one.host, one.sentence)))


def failed_starts(guest: GuestRecord) -> Pairs:
    """`(host name, sentence)` of every host on which the guest's start failed, ordered by name."""
    return tuple(sorted((one.name, one.sentence) for one in guest.failed_on))


def failed_on(guest: GuestRecord) -> frozenset[HostId]:
    """The ids of the hosts on which the guest's start failed."""
    return frozenset(one.host for one in guest.failed_on)


def past_refusals(refusals: tuple[HostRefusal, ...]) -> tuple[PastRefusal, ...]:
    """The refusals to keep with a guest that another host took: the first ones, up to `_MOST_TEXT` characters."""
    kept, length = [], 0
    for refusal in refusals:
        one = PastRefusal(host=refusal.name, revision=refusal.revision, sentence=refusal.no_fit.sentence())
        length += len(one.host) + len(one.sentence)
        if length > _MOST_TEXT:
            break
        kept.append(one)
    return tuple(kept)


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
