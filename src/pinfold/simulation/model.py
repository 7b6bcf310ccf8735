"""What is simulated, and what comes out: plain values."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.bounds import Count
from pinfold.core.fit.capacity import StrandedPcpus
from pinfold.core.fit.slots import Resource
from pinfold.core.host import Limits
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.topology import Topology
from pinfold.scheduler.model import HostStrategy

MAX_POOL: Final = 1024


class GuestShape(Struct, frozen=True, kw_only=True):
    """A kind of guest: every vCPU pinned, its cells equal, one disk and one NIC. `weight` says how often it comes in a mix."""

    vcpus: int
    memory_mib: int
    cells: int = 1
    weight: float = 1.0

    def text(self) -> str:
        """Such as `8 vCPUs, 16 GiB, 2 cells`."""
        memory = f"{self.memory_mib / 1024:g} GiB"
        return f"{self.vcpus} vCPU{'s' if self.vcpus > 1 else ''}, {memory}" + (f", {self.cells} cells" if self.cells > 1 else "")


class GuestMix(Struct, frozen=True, kw_only=True):
    """What is asked for. With `ordered` the shapes come in their order, again and again; otherwise they are drawn by weight.

    `sources` says where each shape stands, such as `requests file r.csv, line 2`; empty for the mixes with a name. `warnings` are of the
    file.
    """

    name: str
    shapes: tuple[GuestShape, ...]
    ordered: bool = False
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class SimulatedFleet(Struct, frozen=True, kw_only=True):
    """The hosts, all empty. They take these topologies in turn. `reserve` pCPUs of each host are in no pool.

    `sources` says where each topology stands, such as `fleet file f.csv, line 2`; it may be empty. `warnings` are of the file.
    `limits` say how overhead is booked. With `pool_is_shared`, floating vCPUs may use the overhead pool too, so a part of it counts.
    """

    hosts: int
    topologies: tuple[Topology, ...]
    reserve: int = 2
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    limits: Limits = Limits(reserved_memory_mib=0)
    pool_is_shared: bool = False

    def used(self) -> tuple[Topology, ...]:
        """The topologies that some host has."""
        return self.topologies[: self.hosts]


class Setting(Struct, frozen=True, kw_only=True):
    """One way to run the fleet: the emulator policy of every guest, and the pCPUs of each host's overhead pool (0: none)."""

    policy: EmulatorPolicy
    pool_pcpus: Count = 0


class Plan(Struct, frozen=True, kw_only=True):
    """What one simulation does. After the fleet is full, `churn` arrivals and departures follow at `load` of the vCPUs that fitted."""

    fleet: SimulatedFleet
    mix: GuestMix
    settings: tuple[Setting, ...]
    strategy: HostStrategy = HostStrategy.LEAST_LOSS
    seed: int = 1
    churn: int = 0
    load: float = 0.9


class Filled(Struct, frozen=True, kw_only=True):
    """How many guests run, with how many vCPUs."""

    guests: Count = 0
    vcpus: Count = 0


class LeftOutShape(Struct, frozen=True, kw_only=True):
    """A shape that no empty host of the fleet takes, and the resource of which all of them have too little.

    So many `requests` have it. `first` says where the first of them stands; None in a mix with a name.
    """

    shape: GuestShape
    lacks: Resource
    requests: Count
    first: str | None = None


class ChurnSample(Struct, frozen=True, kw_only=True):
    """The fleet after so many arrivals and departures.

    `usable_pcpus` are the free pCPUs that the mix's largest guests could take. Both counts are of at most 500 hosts, always the same ones.
    `refused` counts arrivals since the start of the churn.
    """

    events: Count
    vcpus: Count
    refused: Count
    free_pcpus: Count
    usable_pcpus: Count


class SettingResult(Struct, frozen=True, kw_only=True):
    """What one setting holds. `first` is the state when the first request is refused, `full` that when no shape fits any more.

    `emulator_pcpus` are those that isolated emulators own. `free_pcpus` of the full fleet are all of no use for its mix, and
    `stranded` says why. `hosts` are those that take part: the others have no pCPU left for vCPUs. Requests of the shapes in `left_out`
    fit on no empty host and are never asked for.
    """

    setting: Setting
    hosts: Count
    dedicated_pcpus: Count
    first: Filled
    full: Filled
    emulator_pcpus: Count
    free_pcpus: Count
    stranded: tuple[StrandedPcpus, ...] = ()
    left_out: tuple[LeftOutShape, ...] = ()
    churn: tuple[ChurnSample, ...] = ()


class SimulationResult(Struct, frozen=True, kw_only=True):
    """The results of all settings, and what repeats them: the same options and this seed. `warnings` say what was ignored or left out."""

    hosts: Count
    mix: str
    shapes: tuple[str, ...]
    strategy: HostStrategy
    seed: int
    results: tuple[SettingResult, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...] = ()
