"""The settings of a trial, and what was measured in it: plain values."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

LOADS: Final = ("idle", "storm", "statistics", "writes", "migration")
"""What may keep overhead threads busy. `pinfold.latency.loads` does it."""
FLOAT: Final = "float"
SHARE: Final = "share"
FIFO: Final = ("float, FIFO", "share, FIFO")
"""The same two with a vCPU of the real-time priority 1."""
PINFOLD: Final[dict[str, tuple[str, ...]]] = {
    "pinfold, unset": (),
    "pinfold, share": ("-p", "hw:emulator_threads_policy=share"),
}
"""Policies whose guest is placed and started by `pinfold guest start`, with the options that it gets."""


OF_THE_GUEST: Final = " of the guest"
"""How the names of the guest's own threads end in `Sample.instead`."""


class Pcpus(Struct, frozen=True, kw_only=True):
    """The pCPU of the vCPU, and the one to which `share` takes the overhead threads. Whatever makes the load runs there as well."""

    vcpu: int
    overhead: int


class Trial(Struct, frozen=True, kw_only=True):
    """One guest, one round: the accelerator (`kvm`, or `qemu`, which is TCG), the load, the policy, and for how long."""

    accelerator: str
    load: str
    policy: str
    seconds: float


class ThreadShares(Struct, frozen=True, kw_only=True):
    """Per cent of the time that threads ran and waited, and their slices."""

    run_percent: float
    wait_percent: float
    slices: int


class Sample(Struct, frozen=True, kw_only=True):
    """What was measured in one round.

    `late` and `gaps` are histograms: pairs of the least nanoseconds of a bucket and how often. `late` has how late the guest noticed each
    tenth of a millisecond, `gaps` how long it did not run. `worst_us` has the worst gap of each 20 ms. `stolen_us` is the sum of all gaps.
    `vcpu` and `overhead` are the two kinds of threads of its process, by the kernel's sums. `instead` names who else ran on the vCPU's
    pCPU, and for how many milliseconds of the `watched_seconds`. `outlasted`: the round was over before the threads were looked at again,
    so the sums have time in which the guest only slept. `monitor_ms` are the times of the monitor's answers, ascending. `kick_us` is the
    vCPU's time for each disk request, None without any.
    """

    accelerator: str
    load: str
    policy: str
    seconds: float
    run: int = 0
    operations: int = 0
    monitor_ms: tuple[float, ...] = ()
    vcpu: ThreadShares
    overhead: ThreadShares
    instead: tuple[tuple[str, float], ...] = ()
    watched_seconds: float = 0.0
    outlasted: bool = False
    stolen_us: int
    gap_max_ns: int
    late_max_ns: int
    kick_us: float | None = None
    late: tuple[tuple[int, int], ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    worst_us: tuple[tuple[int, int], ...] = ()


class NotStarted(Struct, frozen=True, kw_only=True):
    """A guest that did not start, and why."""

    accelerator: str
    load: str
    policy: str
    run: int
    refused: str


class Medians(Struct, frozen=True, kw_only=True):
    """The medians over the runs of one load and policy. `None` where no run has the figure.

    `others_percent` is for how much of the time other programs ran on the vCPU's pCPU. A vCPU that is asleep neither runs nor waits for a
    pCPU: it is stopped, or waits for a lock of QEMU.
    """

    load: str
    policy: str
    late_p50_us: float | None
    late_p99_us: float | None
    late_p999_us: float | None
    worst_gap_ms: float | None
    stalls_over_100us_per_s: float | None
    stalls_over_1ms_per_s: float | None
    stolen_percent: float | None
    vcpu_waits_percent: float | None
    vcpu_asleep_percent: float | None
    others_percent: float | None
    overhead_runs_percent: float | None
    overhead_waits_percent: float | None
    monitor_p50_ms: float | None
    monitor_p99_ms: float | None


class LatencyResult(Struct, frozen=True, kw_only=True):
    """All that was found. `seconds` is the length of a round; `not_started` has the guests that did not start.

    `load_average` is the machine's, of the minute before the first guest.
    """

    pcpus: Pcpus
    accelerator: str
    load_average: float
    seconds: float
    runs: int
    medians: tuple[Medians, ...]
    not_started: tuple[NotStarted, ...]
    samples: tuple[Sample, ...]
