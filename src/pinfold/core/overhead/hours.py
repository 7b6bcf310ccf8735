"""What was measured of overhead threads, hour by hour, as sums: on the whole pool, and by the shape of guests. The watch keeps both."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.overhead.threads import ThreadClass

HOUR_SECONDS: Final = 3600
LEAST_HOURS: Final = 24
LEAST_SLICES: Final = 1000
_NS: Final = 1_000_000_000

Shape = tuple[int, int, int]
"""The vCPUs, disks and NICs of a guest."""


class OverheadHour(Struct, frozen=True, kw_only=True):
    """What was measured in one hour, as sums. `begins` is in seconds since the epoch, `seconds` how much of the hour was measured.

    `run_ns`, `wait_ns` and `slices` are those of overhead threads of guests whose overhead threads are confined to the pool, and
    `guest_seconds` counts these guests. `pool_run_ns` is how long the pool's pCPUs were busy with anything, `pool_cpu_seconds` and
    `booked_cpu_seconds` are its pCPUs, and what was booked of it, over time.
    """

    begins: int
    seconds: float
    guest_seconds: float
    run_ns: int
    wait_ns: int
    slices: int
    pool_run_ns: int
    pool_cpu_seconds: float
    booked_cpu_seconds: float

    @property
    def counts(self) -> bool:
        """Whether it is evidence: half of it was measured, with guests on the pool, and at least `LEAST_SLICES` slices."""
        return self.seconds >= HOUR_SECONDS / 2 and self.guest_seconds > 0 and self.slices >= LEAST_SLICES and self.pool_cpu_seconds > 0

    @property
    def delay_us(self) -> float:
        """The mean wait of an overhead thread before a slice."""
        return self.wait_ns / 1000 / self.slices

    @property
    def busy(self) -> float:
        """How busy the pool was, from 0 to 1."""
        return self.pool_run_ns / _NS / self.pool_cpu_seconds

    @property
    def load(self) -> float:
        """How many pCPUs the pool was busy with."""
        return self.pool_run_ns / _NS / self.seconds

    @property
    def guests(self) -> float:
        """How many guests were on the pool, on average."""
        return self.guest_seconds / self.seconds

    @property
    def guest_cpu(self) -> float:
        """How many pCPUs the overhead threads of a guest ran, as a mean over the guests."""
        return self.run_ns / _NS / self.guest_seconds


class Place(Enum):
    """Where overhead threads run: on the overhead pool, or on a pCPU of the guest's own for them (policy `isolate`)."""

    POOL = "pool"
    OWN = "own"


class ShapeHour(Struct, frozen=True, kw_only=True):
    """What the threads of one class did in one hour, of all guests of one shape with the same place, as sums.

    `guest_seconds` counts the guests, and is the same for each class.
    """

    begins: int
    place: Place
    vcpus: int
    disks: int
    nics: int
    thread_class: ThreadClass
    guest_seconds: float
    run_ns: int
    wait_ns: int
    slices: int

    @property
    def shape(self) -> Shape:
        """The shape of the guests."""
        return (self.vcpus, self.disks, self.nics)
