"""`Quota`: how much a project may have, and whether more of it fits. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.request.model import EmulatorPolicy, GuestRequest

UNLIMITED: Final = -1


class Amount(Struct, frozen=True, kw_only=True):
    """How much guests are: how many, their vCPUs, the pCPUs that are dedicated to them, and their MiB of memory."""

    instances: int = 0
    cores: int = 0
    pcpus: int = 0
    memory_mib: int = 0

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """The sum of this and so many times another amount.

        >>> Amount(cores=1).plus(Amount(instances=1, cores=2), 3)
        Amount(instances=3, cores=7, pcpus=0, memory_mib=0)
        """
        return Amount(**{name: getattr(self, name) + times * getattr(other, name) for name in RESOURCES})


class Quota(Struct, frozen=True, kw_only=True):
    """The most that a project may have of each; `UNLIMITED` for no limit."""

    instances: int = UNLIMITED
    cores: int = UNLIMITED
    pcpus: int = UNLIMITED
    memory_mib: int = UNLIMITED


RESOURCES: Final = Quota.__struct_fields__
NOVA_NAMES: Final = {"instances": "instances", "cores": "cores", "pcpus": "pcpus", "memory_mib": "ram"}
"""What Nova calls each; it has no quota of pCPUs."""


def amount_of(request: GuestRequest) -> Amount:
    """How much one guest is. An isolated emulator has one pCPU more."""
    pcpus = len(request.dedicated) + (request.emulator_policy is EmulatorPolicy.ISOLATE)
    return Amount(instances=1, cores=request.vcpus, pcpus=pcpus, memory_mib=request.memory_mib)


def exceeded(quota: Quota, used: Amount, more: Amount) -> tuple[str, ...]:
    """What of a quota would be exceeded by more, by name; nothing is exceeded of which nothing is asked.

    >>> exceeded(Quota(instances=2, cores=4), Amount(instances=1, cores=3), Amount(instances=1, cores=2))
    ('cores',)
    """
    return tuple(
        name for name in sorted(RESOURCES) if 0 <= getattr(quota, name) < getattr(used, name) + getattr(more, name) and getattr(more, name)
    )


def refusal(quota: Quota, used: Amount, more: Amount) -> str:
    """The sentence that refuses more, in Nova's words; '' if it fits.

    >>> refusal(Quota(cores=4), Amount(instances=1, cores=3), Amount(instances=1, cores=2))
    'Quota exceeded for cores: Requested 2, but already used 3 of 4 cores'
    >>> refusal(Quota(cores=4), Amount(), Amount(cores=4))
    ''
    """
    over = exceeded(quota, used, more)
    if not over:
        return ""
    names = ", ".join(NOVA_NAMES[name] for name in over)
    asked, had, most = (", ".join(str(getattr(values, name)) for name in over) for values in (more, used, quota))
    return f"Quota exceeded for {names}: Requested {asked}, but already used {had} of {most} {names}"
