"""Whether a recorded fit is still valid on its host: pools may have changed, and pCPUs may have gone offline. Pure.

`host.two_owners` finds pCPUs that somebody else holds too.
"""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Finding, FindingCode, Subject
from pinfold.core.drift.host_findings import outside_pools, place_of
from pinfold.core.drift.steps import SwitchOn
from pinfold.core.fit.answer import Fit
from pinfold.core.pools import Pools


def out_of_place(subject: Subject, fit: Fit, pools: Pools, online: CpuSet) -> tuple[Finding, ...]:
    """The findings about pCPUs of a recorded fit that are no longer in the pools, then about its offline pCPUs. Pure.

    A finding that is only a note, such as an overhead pool that has grown, breaks no promise.
    """
    place = place_of(fit)
    offline = place.alone - online
    found = outside_pools(subject, place, pools, online)
    if not offline:
        return found
    gone = Finding(
        code=FindingCode.PCPU_OFFLINE,
        guest=subject.name,
        guest_id=subject.id,
        subject="it",
        recorded=str(place.alone),
        observed=str(offline),
        steps=(SwitchOn(cpus=offline),),
    )
    return (*found, gone)
