"""`Flavor`, `Image` and `GuestRequest`: plain values. `compile` turns the first two into the third."""

from __future__ import annotations

from enum import Enum

from msgspec import UNSET, Struct, UnsetType

from pinfold.core.bounds import CellIndex, Count, MemoryMib, VcpuCount
from pinfold.core.cpuset import CpuSet
from pinfold.core.request.guest_hardware import PLAIN, GuestHardware, interface_queues


class CpuPolicy(Enum):
    """`hw:cpu_policy`."""

    SHARED = "shared"
    DEDICATED = "dedicated"
    MIXED = "mixed"


class ThreadPolicy(Enum):
    """`hw:cpu_thread_policy`; unset is PREFER."""

    PREFER = "prefer"
    ISOLATE = "isolate"
    REQUIRE = "require"


class EmulatorPolicy(Enum):
    """`hw:emulator_threads_policy`. With UNSET the emulator threads float over the guest's own pCPUs."""

    UNSET = "unset"
    SHARE = "share"
    ISOLATE = "isolate"


class PageKind(Enum):
    """The kind of value in `hw:mem_page_size`. EXPLICIT comes with a size in KiB."""

    SMALL = "small"
    LARGE = "large"
    ANY = "any"
    EXPLICIT = "explicit"


class PageRequest(Struct, frozen=True, kw_only=True):
    """The page size for the guest's memory. `size_kib` is 0 except for EXPLICIT.

    SMALL is the cell's small page. LARGE is the largest other page that divides the cell's memory and of which enough are free. ANY is
    LARGE, with the small page as the last choice. EXPLICIT is exactly that size. A guest with cells and no page size is SMALL.
    """

    kind: PageKind
    size_kib: Count = 0


class Flavor(Struct, frozen=True, kw_only=True):
    """A flavor as Nova has it. `extra_specs` are `(key, value)` pairs, ordered by key, every key once."""

    vcpus: int
    memory_mib: int
    disk_gib: int = 0
    extra_specs: tuple[tuple[str, str], ...] = ()
    name: str = ""


class Image(Struct, frozen=True, kw_only=True):
    """The properties of an image that matter for placement: `(key, value)` pairs, ordered by key, every key once."""

    properties: tuple[tuple[str, str], ...] = ()
    name: str = ""


class GuestCpuTopology(Struct, frozen=True, kw_only=True):
    """Sockets, cores and threads that the guest sees; their product is its number of vCPUs."""

    sockets: VcpuCount
    cores: VcpuCount
    threads: VcpuCount


class GuestCell(Struct, frozen=True, kw_only=True):
    """One NUMA cell of the guest: its vCPUs, those of them that are pinned (`dedicated`, a subset), and its memory."""

    id: CellIndex
    vcpus: CpuSet
    dedicated: CpuSet
    memory_mib: MemoryMib

    @property
    def shared(self) -> CpuSet:
        """The cell's vCPUs that are not pinned. They float over the host cell's part of the shared pool."""
        return self.vcpus - self.dedicated


class GuestRequest(Struct, frozen=True, kw_only=True, cache_hash=True):
    """A guest as the engine reads it: every default filled in, every combination checked.

    All CPU sets hold vCPU indexes, 0 to `vcpus - 1`. `cells` is empty for a guest that floats over the shared pool; otherwise the
    cells partition the vCPUs and their memories add up to `memory_mib`. `realtime` is a subset of the dedicated vCPUs.
    `disks` and `nics` count devices, for the overhead that they cause.
    """

    vcpus: VcpuCount
    memory_mib: MemoryMib
    disk_gib: Count = 0
    cpu_policy: CpuPolicy = CpuPolicy.SHARED
    thread_policy: ThreadPolicy = ThreadPolicy.PREFER
    emulator_policy: EmulatorPolicy = EmulatorPolicy.UNSET
    realtime: CpuSet = CpuSet()
    cells: tuple[GuestCell, ...] = ()
    page: PageRequest = PageRequest(kind=PageKind.SMALL)
    explicit_page: bool = False
    """Whether the flavor or image names a page size. Then the memory uses that size only."""
    locked_memory: bool = False
    cpu_topology: GuestCpuTopology | None = None
    traits_required: frozenset[str] = frozenset()
    traits_forbidden: frozenset[str] = frozenset()
    disks: Count = 0
    nics: Count = 0
    not_acted_upon: tuple[str, ...] = ()
    """Accepted keys that have no effect."""
    hardware: GuestHardware | UnsetType = UNSET
    """What the guest gets beside that; not written where it asks for nothing."""

    @property
    def wants(self) -> GuestHardware:
        """The guest's hardware."""
        return PLAIN if self.hardware is UNSET else self.hardware

    @property
    def queues(self) -> int:
        """The queues of each network interface, in pairs of one for each direction."""
        return interface_queues(self.vcpus, multiqueue=self.wants.multiqueue)

    @property
    def nic_queues(self) -> int:
        """The queues of all network interfaces. Each has a thread of its own where the host has vhost-net, and costs overhead."""
        return self.nics * self.queues

    @property
    def dedicated(self) -> CpuSet:
        """The vCPUs that get one pCPU each."""
        mask = 0
        for cell in self.cells:
            mask |= cell.dedicated.mask
        return CpuSet.from_mask(mask)

    @property
    def floating(self) -> CpuSet:
        """The vCPUs that float over shared pCPUs, in cells or not."""
        return CpuSet.from_mask(((1 << self.vcpus) - 1) & ~self.dedicated.mask)
