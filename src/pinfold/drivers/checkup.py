"""`Checkup`: the answer to one check of `pinfold doctor`: health, what was seen, and what to do. Lists the checks and their reasons.

`host.checkups`, the drivers and the command line read the facts and decide the health.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

from pinfold.core.request.model import EmulatorPolicy, GuestRequest, PageKind


class Health(Enum):
    """The health of one prerequisite."""

    GOOD = "good"
    UNUSED = "unused"
    """it is not met or cannot be seen, and no flavor of the flavors file asks for what needs it"""
    POOR = "poor"
    """guests start, but something is less than it could be, or some guests do not start"""
    BAD = "bad"
    """guests do not start"""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One fact and its source: a file or command, and what it says."""

    source: str
    value: str


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one check.

    `check` is the check's code, `what` its name, `words` the answer, `why` the reason for the check, `seen` the facts behind the answer.
    `advice` says what to do, '' if there is nothing to do or to add. `repair` is the shell command that does it, '' if there is none.
    """

    check: str
    what: str
    health: Health
    words: str
    why: str
    seen: tuple[Seen, ...] = ()
    advice: str = ""
    repair: str = ""


class Check(Enum):
    """The checks by their codes, in the order of the reference."""

    CONFIGURATION = "configuration"
    FLAVORS = "flavors"
    KVM = "kvm"
    QEMU_IMG = "qemu-img"
    CPUSET_CGROUP = "cpuset-cgroup"
    STATE_DIR = "state-dir"
    HYPERVISOR = "hypervisor"
    GUEST_CPU = "guest-cpu"
    FIRMWARE = "firmware"
    REALTIME_SCHEDULER = "realtime-scheduler"
    LOCKED_MEMORY = "locked-memory"
    HUGE_PAGES = "huge-pages"
    POOLS = "pools"
    EMPTY_POOLS = "empty-pools"
    SIBLINGS = "siblings"
    ISOLATION = "isolation"
    TICK = "tick"
    CALLBACKS = "rcu-callbacks"
    INTERRUPTS = "interrupts"
    GOVERNORS = "governors"
    PAGE_RECOVERY = "page-recovery"
    THROTTLING = "throttling"
    STARVATION = "starvation"

    def found(
        self, health: Health, words: str, *, what: str = "", seen: Iterable[Seen] = (), advice: str = "", repair: str = ""
    ) -> Checkup:
        """The checkup with this answer. `what` replaces the check's own name."""
        about = ABOUT[self]
        return Checkup(
            check=self.value,
            what=what or about.what,
            health=health,
            words=words,
            why=about.why,
            seen=tuple(seen),
            advice=advice,
            repair=repair,
        )


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a check is about: its name in the list, why it matters, and the sources of its facts."""

    what: str
    why: str
    sources: str


ABOUT: Final = {
    Check.CONFIGURATION: About(
        what="configuration",
        why="without files every option has its default, and an option with a wrong name does nothing",
        sources="the configuration files",
    ),
    Check.FLAVORS: About(
        what="flavors",
        why="the flavors tell which of the other checks matter on this host",
        sources="the flavors file",
    ),
    Check.KVM: About(
        what="KVM",
        why="without KVM guests are emulated, which is many times slower",
        sources="`/dev/kvm`",
    ),
    Check.QEMU_IMG: About(
        what="qemu-img",
        why="it makes the disks of new guests",
        sources="`$PATH`",
    ),
    Check.CPUSET_CGROUP: About(
        what="cpuset cgroup",
        why="a live pin moves all threads of a guest only where they are in cpuset cgroups",
        sources="`/proc/self/mounts`",
    ),
    Check.STATE_DIR: About(
        what="state_dir",
        why="disks, logs and locks of guests are kept there",
        sources="`[pinfold] state_dir`",
    ),
    Check.HYPERVISOR: About(
        what="hypervisor",
        why="it starts the guests and tells which ones there are",
        sources="its socket",
    ),
    Check.GUEST_CPU: About(
        what="guest processor",
        why="a new guest sees this processor for all its life, and does not start where the host cannot give it",
        sources="`[libvirt] cpu_mode`, `cpu_models` and `cpu_model_extra_flags`, and the hypervisor's answer to them",
    ),
    Check.FIRMWARE: About(
        what="firmware and TPM",
        why="a guest with hw_firmware_type=uefi, os:secure_boot or hw:tpm_version starts only where libvirt can give them",
        sources="the hypervisor's answer to what guests can have",
    ),
    Check.REALTIME_SCHEDULER: About(
        what="SCHED_FIFO",
        why="vCPUs of realtime flavors run with it, and a guest does not start if its hypervisor may not set it",
        sources="`/proc/PID/status` and `/proc/PID/limits` of libvirt's daemon, `cpu.rt_runtime_us` of cgroup v1",
    ),
    Check.LOCKED_MEMORY: About(
        what="locked memory",
        why="the memory of realtime guests is locked, and QEMU ends if its limit does not allow that",
        sources="`/proc/PID/status` and `/proc/PID/limits` of libvirt's daemon",
    ),
    Check.HUGE_PAGES: About(
        what="huge pages",
        why="a guest with hw:mem_page_size starts only if such pages are reserved and the hypervisor has found their hugetlbfs",
        sources="`/sys/devices/system/node/node*/hugepages`, `/proc/meminfo`, the mounts",
    ),
    Check.POOLS: About(
        what="pools",
        why="pinned vCPUs, floating vCPUs and overhead threads each run on the pCPUs of their pool",
        sources="`cpu_shared_set`, `cpu_dedicated_set`, `cpu_overhead_set`, and the hypervisor's topology",
    ),
    Check.EMPTY_POOLS: About(
        what="empty pools",
        why="a pool without an online pCPU refuses every guest that needs it, and guests that run there lose their place",
        sources="`cpuN/online` and `smt/control` below `/sys/devices/system/cpu`, `cpu_power_management` of `nova.conf`",
    ),
    Check.SIBLINGS: About(
        what="siblings",
        why="the pCPUs of one core share its units and caches: work on one of them slows the guest on the other",
        sources="`/sys/devices/system/cpu/cpuN/topology/thread_siblings_list`, the hypervisor's topology",
    ),
    Check.ISOLATION: About(
        what="isolcpus",
        why="the kernel does not balance isolated pCPUs: floating threads all stay on one of them, and no other process comes there",
        sources="`/sys/devices/system/cpu/isolated`",
    ),
    Check.TICK: About(
        what="nohz_full",
        why="the scheduler's tick interrupts a vCPU up to 1000 times a second, unless it is stopped while one thread runs there",
        sources="`/sys/devices/system/cpu/nohz_full`",
    ),
    Check.CALLBACKS: About(
        what="rcu_nocbs",
        why="the kernel runs the RCU callbacks of a pCPU on that pCPU, in the vCPU's time, unless they are offloaded",
        sources="`/proc/cmdline`, `/sys/devices/system/cpu/nohz_full`",
    ),
    Check.INTERRUPTS: About(
        what="interrupts",
        why="an interrupt of a device stops the vCPU on the pCPU where it is delivered",
        sources="`smp_affinity_list` and `effective_affinity_list` below `/proc/irq/N`",
    ),
    Check.GOVERNORS: About(
        what="governors",
        why="a pCPU that lowers its frequency when idle is slow when a vCPU wakes up",
        sources="`/sys/devices/system/cpu/cpuN/cpufreq/scaling_governor`",
    ),
    Check.PAGE_RECOVERY: About(
        what="nx_huge_pages",
        why="the recovery thread of a guest starts on the pCPU of its first vCPU, and competes with it",
        sources="`nx_huge_pages` and `nx_huge_pages_recovery_ratio` below `/sys/module/kvm/parameters`",
    ),
    Check.THROTTLING: About(
        what="realtime throttling",
        why="the kernel stops realtime threads that use up their share of each period, so a vCPU that polls is stopped",
        sources="`sched_rt_runtime_us` and `sched_rt_period_us` below `/proc/sys/kernel`",
    ),
    Check.STARVATION: About(
        what="realtime vCPUs",
        why="a SCHED_FIFO vCPU that does not sleep lets no emulator thread run on its pCPU: the guest's disks and monitor stop",
        sources="`/proc/PID/task/*/stat` and `/proc/PID/task/*/status` of every running guest",
    ),
}


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What the flavors of a host need beyond the ordinary: realtime vCPUs, locked memory, large pages of any size, or of certain sizes.

    `emulators_apart` means that there are flavors with pinned vCPUs, and that all of them keep emulator threads off the guest's own pCPUs.
    """

    realtime: bool = False
    locked: bool = False
    large_pages: bool = False
    page_kib: frozenset[int] = frozenset()
    emulators_apart: bool = False

    @property
    def realtime_lack(self) -> Health:
        """The health of a host that lacks something which realtime guests alone need."""
        return Health.POOR if self.realtime else Health.UNUSED


def needs_of(requests: Iterable[GuestRequest]) -> Needs:
    """What guests of these requests need."""
    asked = tuple(requests)
    pages = [request.page for request in asked if request.explicit_page]
    pinned = [request for request in asked if request.dedicated]
    return Needs(
        realtime=any(request.realtime for request in asked),
        locked=any(request.locked_memory for request in asked),
        large_pages=any(page.kind is PageKind.LARGE for page in pages),
        page_kib=frozenset(page.size_kib for page in pages if page.kind is PageKind.EXPLICIT),
        emulators_apart=bool(pinned) and all(request.emulator_policy is not EmulatorPolicy.UNSET for request in pinned),
    )
