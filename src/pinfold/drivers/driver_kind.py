"""`DriverKind`: what one kind of driver knows without a connection to a hypervisor, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from pinfold.core.cpu_model import CpuModel
from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Checkup, Needs
from pinfold.drivers.port import Driver, GuestSpec


class DeviceCounts(Struct, frozen=True, kw_only=True):
    """The devices of a guest that cost overhead."""

    disks: int = 0
    nics: int = 0


class AnotherHost(Struct, frozen=True, kw_only=True):
    """A host that is described and not reached: its topology, and how definitions for it are written."""

    topology: Topology
    definition: Callable[[GuestSpec], str]


class Witness(Protocol):
    """Another source than procfs for what a thread may run on, such as a lab's records. It is named in every `Observation`."""

    @property
    def label(self) -> str:
        """What `Observation.witness` says."""
        ...

    def allowed(self, tid: int) -> CpuSet | None:
        """The pCPUs of that thread, None if this witness knows nothing of it."""
        ...


class DriverKind(Protocol):
    """One kind of driver: how it is opened, and what it knows without a connection. `drivers.registry` finds it by address."""

    @property
    def name(self) -> str:
        """What drivers of this kind connect to, in a word."""
        ...

    def open(self, uri: str, *, witness: Witness | None, realtime_priority: int, cpu: CpuModel) -> Driver:
        """Connect to the hypervisor. Raises `Unavailable` if it is away, `InvalidRequest` for an address that cannot be used."""
        ...

    def device_counts(self, template: str) -> DeviceCounts:
        """The devices in a user's template. Raises `InvalidRequest` for an unusable template."""
        ...

    def another_host(self, description: str, *, realtime_priority: int) -> AnotherHost:
        """The host in a text that the hypervisor wrote about it (libvirt: capabilities). Raises `InvalidRequest` if it cannot be read."""
        ...

    def writer(self, *, realtime_priority: int) -> Callable[[GuestSpec], str]:
        """How definitions are written for a host of which nothing is known."""
        ...

    def checkups(self, uri: str, needs: Needs, *, realtime_priority: int, topology: Topology | None) -> tuple[Checkup, ...]:
        """Whether this machine and the hypervisor give guests what some need. `topology` is the host's, None if it is not reached."""
        ...

    def start_command(self, uri: str) -> str:
        """The command that starts a hypervisor that does not answer; '' if there is none."""
        ...
