"""Write the fault of a guest that hosts refused or failed to start, and keep the refusals of a guest that has no fault. Pure."""

from __future__ import annotations

from typing import Final

from pinfold.core.encoding import json_text
from pinfold.core.fit.written import Refusal, refusal, written_refusal
from pinfold.core.identity import HostId
from pinfold.scheduler.model import HostRefusal
from pinfold.store.records import Fault, GuestRecord

_MOST_TEXT: Final = 8192
"""The most characters of all the refusals that are kept with a guest."""


def refused_by(guest: GuestRecord) -> tuple[Refusal, ...]:
    """Every host that did not take the guest, by name, from its fault or from the attempts before it was placed, as they are written."""
    known = (*failed_starts(guest), *guest.refusals) if guest.fault is None else guest.fault.refusals
    return tuple(sorted(map(written_refusal, known), key=lambda one: (one.host, one.sentence)))


def failed_starts(guest: GuestRecord) -> tuple[Refusal, ...]:
    """The hosts on which the guest's start failed, by name."""
    return tuple(Refusal(host=name, sentence=sentence) for name, sentence in sorted((one.name, one.sentence) for one in guest.failed_on))


def failed_on(guest: GuestRecord) -> frozenset[HostId]:
    """The ids of the hosts on which the guest's start failed."""
    return frozenset(one.host for one in guest.failed_on)


def past_refusals(refusals: tuple[HostRefusal, ...]) -> tuple[Refusal, ...]:
    """The refusals to keep with a guest that another host took: the first ones, up to `_MOST_TEXT` characters."""
    kept, length = [], 0
    for one in map(_refusal, refusals):
        length += len(json_text(one))
        if length > _MOST_TEXT:
            break
        kept.append(one)
    return tuple(kept)


def nowhere(guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> Fault:
    """The fault of a guest that has no host, including the starts that failed before."""
    failed = failed_starts(guest)
    by_name = {one.name: _refusal(one) for one in refusals} | {one.host: one for one in failed}
    return Fault(
        code=code,
        message="; ".join((message, *(f"{one.host}: {one.sentence}" for one in failed))),
        refusals=tuple(by_name[name] for name in sorted(by_name)),
    )


def in_place(name: str, failure: str, *, rebuild: bool = False) -> Fault:
    """The fault of a guest whose start or `rebuild` failed on the host of that name, where it stays."""
    what = "rebuild" if rebuild else "start"
    return Fault(code=500, message=f"The {what} failed on {name}: {failure}", refusals=(Refusal(host=name, sentence=failure),))


def _refusal(of: HostRefusal) -> Refusal:
    return refusal(of.no_fit, of.name, of.revision)
