"""A domain that a service takes over as it runs: what is asked for, and how far that is."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.bounds import GuestUuid, Name
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState, Ledger
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, GuestRequest

FLAVOR: Final = "adopted"
"""The name of the flavor of an adopted guest that no flavor made."""
NOT_ADOPTED: Final = "The guest was not adopted: "
"""The beginning of the fault of a server whose domain its agent could not take over."""


class Takeover(Enum):
    """What an agent is to do with the domain of a guest that it did not make: take it over, keep it, or give it back. NONE for the guests
    that agents make.

    An agent never makes such a domain, and never starts one that has gone. ADOPTED for a guest that is wanted absent says that its user
    deletes it, and that the domain ends.
    """

    NONE = ""
    ADOPT = "adopt"
    ADOPTED = "adopted"
    RELEASE = "release"


class WantedAdoption(Struct, frozen=True, kw_only=True):
    """The domain to take over, by its id and its name, and the place that it has: the plan that an operator was shown.

    `active` says whether it has a process, `paused` whether its vCPUs are stopped. `flavor` is the name of the flavor that made it, ''
    for none.
    """

    guest: GuestUuid
    name: Name
    fit: Fit
    request: GuestRequest
    flavor: Name = ""
    active: bool = True
    paused: bool = False

    def as_flavor(self) -> Flavor:
        """The flavor of a guest like this."""
        asked, specs = self.request, {}
        if asked.cpu_policy is not CpuPolicy.SHARED:
            specs["hw:cpu_policy"] = asked.cpu_policy.value
        if asked.emulator_policy is not EmulatorPolicy.UNSET:
            specs["hw:emulator_threads_policy"] = asked.emulator_policy.value
        return Flavor(
            name=self.flavor or FLAVOR,
            vcpus=asked.vcpus,
            memory_mib=asked.memory_mib,
            disk_gib=asked.disk_gib,
            extra_specs=tuple(sorted(specs.items())),
        )


def without_stranger(state: HostState, name: str) -> HostState:
    """The host without what the guest of that name, which is not ours yet, holds there. Pure."""
    others = tuple(other for other in state.ledger.foreign if other.name != name)
    return replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=others))
