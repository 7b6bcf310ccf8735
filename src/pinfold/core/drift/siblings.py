"""Whether the SMT siblings of a guest with thread policy `isolate` are idle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import Finding, FindingCode, Subject
from pinfold.core.drift.host_findings import Holder

_MIGRATE = "migrate one of them to another host with Nova, or resize it; stopping and starting changes nothing, since Nova keeps its pins"


def busy_siblings(
    subject: Subject, own: CpuSet, siblings: Mapping[int, CpuSet], others: Iterable[Holder], *, kept: CpuSet = CpuSet()
) -> tuple[Finding, ...]:
    """A finding for siblings of a guest's `own` pCPUs that running guests are pinned to; at most one. Pure.

    `siblings` are the online pCPUs of each pCPU's core, itself included. `kept` are siblings that the guest holds; another guest pinned
    there is a second owner, which `host.two_owners` reports.
    """
    idle = 0
    for cpu in own:
        idle |= siblings.get(cpu, CpuSet()).mask
    wanted = CpuSet.from_mask(idle) - own - kept
    there = [(other.name, other.cpus & wanted) for other in others if other.runs and other.cpus & wanted]
    if not there:
        return ()
    busy = 0
    for _, cpus in there:
        busy |= cpus.mask
    return (
        Finding(
            code=FindingCode.SIBLING_BUSY,
            guest=subject.name,
            guest_id=subject.id,
            subject=str(CpuSet.from_mask(busy)),
            observed=", ".join(sorted({name for name, _ in there})),
            advice=f"give it other cores, its disk stays: {remedy.replaced(subject)}" if subject.owner else _MIGRATE,
        ),
    )
