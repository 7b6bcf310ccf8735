"""Whether the place that a guest was given still holds on its host: pools that moved, pCPUs that went offline. Pure.

Who else holds the same pCPUs is `two_owners`'s to say, and giving the guest another place the engine's.
"""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Finding, FindingCode, Subject
from pinfold.core.drift.host import outside_pools, place_of
from pinfold.core.drift.remedy import bring_online
from pinfold.core.fit.model import Fit
from pinfold.core.pools import Pools


def out_of_place(subject: Subject, fit: Fit, pools: Pools, online: CpuSet) -> tuple[Finding, ...]:
    """Where a recorded fit no longer lies within the pools, then its own pCPUs that are offline. Pure.

    A note among the findings breaks no promise: an overhead pool that has grown.
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
        repair=bring_online(offline),
    )
    return (*found, gone)
