"""What a plan gains, and costs, in sentences for operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.plural import count, pcpus
from pinfold.core.repin.plan import Repin, SizeChange, SlotChange
from pinfold.core.request.model import GuestRequest, ThreadPolicy


def gain(plan: Repin) -> tuple[str, ...]:
    """What is different after the plan, a sentence each. Pure.

    >>> from pinfold.core.cpuset import CpuSet
    >>> gain(Repin(freed=CpuSet.of(7), slots=(SlotChange(flavor="big", vcpus=16, before=0, after=1),)))
    ('retiring pCPU 7 becomes free of guests', 'then one more guest of 16 vCPUs fits (flavor big)')
    """
    return tuple(_sentences(plan))


def no_move(plan: Repin) -> str:
    """Why there is no step. Pure.

    >>> no_move(Repin())
    'no move helps: no guest holds a retiring pCPU, and joining free siblings makes room for no larger guest'
    >>> no_move(Repin(slots=(SlotChange(flavor="big", vcpus=16, before=0, after=0),)))
    'no move helps: no guest holds a retiring pCPU, and joining free siblings makes room for no more guests of flavor big'
    """
    if plan.stays:
        return "no move helps: no guest can leave its retiring pCPUs, and joining free siblings makes room for no larger guest"
    if plan.slots:
        named = _flavors([change.flavor for change in plan.slots])
        return f"no move helps: no guest holds a retiring pCPU, and joining free siblings makes room for no more guests of {named}"
    return "no move helps: no guest holds a retiring pCPU, and joining free siblings makes room for no larger guest"


_NAMED: Final = 3
"""More flavors than this are counted, not named."""


def _flavors(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"any of {len(names)} flavors"
    return f"flavor {names[0]}" if len(names) == 1 else f"flavors {', '.join(names[:-1])} or {names[-1]}"


_NO_PLACE: Mapping[ThreadPolicy, str] = {
    ThreadPolicy.PREFER: "its host cell has no free dedicated pCPU for them",
    ThreadPolicy.REQUIRE: "its host cell has too few cores with two free dedicated pCPUs (hw:cpu_thread_policy=require)",
    ThreadPolicy.ISOLATE: "its host cell has no wholly free core for them (hw:cpu_thread_policy=isolate)",
}


def why_kept(fit: Fit, request: GuestRequest | None, kept: CpuSet, offline: CpuSet) -> str:
    """Why a guest that could be moved keeps these retiring pCPUs. Pure."""
    policy = ThreadPolicy.PREFER if request is None else request.thread_policy
    if policy is ThreadPolicy.ISOLATE and kept <= fit.idle_siblings & offline:
        return "they are its idle siblings, and offline"
    return _NO_PLACE[policy]


def _sentences(plan: Repin) -> Iterator[str]:
    if plan.freed:
        yield f"retiring {pcpus(str(plan.freed))} {'becomes' if len(plan.freed) == 1 else 'become'} free of guests"
    for slot in plan.slots:
        if slot.before != slot.after:
            yield _of_flavor(slot)
    for size in plan.sizes:
        if size.before != size.after:
            yield _of_size(size)


def _of_flavor(slot: SlotChange) -> str:
    number = abs(slot.after - slot.before)
    more = "more" if slot.after > slot.before else "fewer"
    guests = f"one {more} guest" if number == 1 else f"{number:,} {more} guests"
    return f"then {guests} of {count(slot.vcpus, 'vCPU')} {'fits' if number == 1 else 'fit'} (flavor {slot.flavor})"


def _of_size(size: SizeChange) -> str:
    asks = f"hw:cpu_thread_policy={size.threads.value}"
    if not size.after:
        return f"then no guest with {asks} fits; the largest that fits now has {count(size.before, 'vCPU')}"
    now = f"the largest that fits now has {count(size.before, 'vCPU')}" if size.before else "none fits now"
    return f"then a guest of {count(size.after, 'vCPU')} with {asks} fits; {now}"
