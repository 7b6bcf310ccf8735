"""Judge whether a host of libvirt's is ready for realtime guests and for huge pages, and give the repair if not. Pure; `linux` reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from pinfold.core.plural import page_words
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Check, Checkup, Health, Needs, Seen
from pinfold.drivers.libvirt.address import SYSTEM_STATE_DIR, Address
from pinfold.linux.grants import Grants, HugePageMount
from pinfold.linux.sysfs import HugePages

_GIB_KIB: Final = 1 << 20
LIBVIRT_DAEMONS: Final = ("libvirtd", "virtqemud")
"""The services of systemd that answer at qemu:///system, the usual one of Debian and Ubuntu first."""
LIBVIRT_PAGES: Final = "libvirt/qemu"
"""The folder that libvirt makes in every hugetlbfs that it finds when it starts (`qemuStateInitialize`)."""
_SOME: Final = 512
"""Pages to begin with."""
_OTHER_SHELL: Final = "start the lab anew from a shell that may do it"


def realtime_checkups(daemon: Grants, groups: str, wanted: Needs, *, priority: int, lab: bool = False) -> list[Checkup]:
    """Whether `daemon`, which starts the guests, can give vCPUs SCHED_FIFO at `priority`, and guests locked memory.

    `groups` is where cgroup v1 gives each new group no realtime, '' if it does not. The daemon of a `lab` is no service of the machine: the
    lab's options, and the shell that started it, decide what it may do.
    Sources: sched(7), the kernel's sched-rt-group.rst, and libvirt's `<vcpusched>` and `<locked/>`.
    """
    return [_fifo(daemon, groups, wanted.realtime_lack, priority, lab=lab), _locked(daemon, wanted, lab=lab)]


def _fifo(daemon: Grants, groups: str, lacking: Health, priority: int, *, lab: bool) -> Checkup:
    check, who = Check.REALTIME_SCHEDULER, f"{daemon.process} ({daemon.pid})"
    seen = (
        Seen(source=f"/proc/{daemon.pid}/status", value=f"CapEff {'with' if daemon.sys_nice else 'without'} CAP_SYS_NICE"),
        Seen(source=f"/proc/{daemon.pid}/limits", value=f"Max realtime priority {daemon.rtprio}"),
    )
    if not daemon.sys_nice and daemon.rtprio < priority:
        words = f"{who} lacks CAP_SYS_NICE, and its limit of realtime priority is {daemon.rtprio}, {priority} needed"
        if lab:
            return check.found(lacking, f"{words}; {_OTHER_SHELL}", seen=seen)
        return check.found(lacking, words, seen=seen, repair=_limit(daemon, f"LimitRTPRIO={priority}"))
    if groups:
        way_out = (
            "a lab without cgroups (`--no-cgroups`) may"
            if lab
            else f"take cpu out of cgroup_controllers in /etc/libvirt/qemu.conf and restart {daemon.process}, or boot with "
            "systemd.unified_cgroup_hierarchy=1"
        )
        there = Seen(source=f"{groups}/cpu.rt_runtime_us", value="it exists")
        return check.found(lacking, f"cgroup v1 at {groups} gives each new group no realtime at all; {way_out}", seen=(*seen, there))
    return check.found(Health.GOOD, f"{who} may give it to vCPUs, at priority {priority}", seen=seen)


def _locked(daemon: Grants, wanted: Needs, *, lab: bool) -> Checkup:
    check, who = Check.LOCKED_MEMORY, f"{daemon.process} ({daemon.pid})"
    if daemon.sys_resource or daemon.memlock_kib is None:
        return check.found(Health.GOOD, f"{who} may lift a guest's limit of it")
    words = f"{who} lacks CAP_SYS_RESOURCE, and no guest of it may lock more than {daemon.memlock_kib >> 10} MiB"
    health = Health.POOR if wanted.realtime or wanted.locked else Health.UNUSED
    seen = (
        Seen(source=f"/proc/{daemon.pid}/status", value="CapEff without CAP_SYS_RESOURCE"),
        Seen(source=f"/proc/{daemon.pid}/limits", value=f"Max locked memory {daemon.memlock_kib} KiB"),
    )
    if lab:
        return check.found(health, f"{words}; {_OTHER_SHELL}", seen=seen)
    return check.found(health, words, seen=seen, repair=_limit(daemon, "LimitMEMLOCK=infinity"))


def _limit(daemon: Grants, setting: str) -> str:
    folder = f"/etc/systemd/system/{daemon.process}.service.d"
    name = setting.partition("=")[0]
    return (
        f"mkdir -p {folder} && printf '[Service]\\n{setting}\\n' > {folder}/{name}.conf "
        f"&& systemctl daemon-reload && systemctl restart {daemon.process}"
    )


def huge_page_checkups(
    pages: Sequence[HugePages],
    mounts: Sequence[HugePageMount],
    wanted: Needs,
    *,
    default_kib: int | None,
    service: str = LIBVIRT_DAEMONS[0],
) -> list[Checkup]:
    """For each huge page size of the kernel, ascending, whether pages are reserved, and mounted where libvirt found them at its start.

    `service` is the service of libvirt's daemon.
    """
    sizes = sorted({page.size_kib for page in pages})
    if not sizes:
        health = Health.POOR if wanted.large_pages or wanted.page_kib else Health.UNUSED
        words = "the kernel has none; guests that ask for them fit nowhere on this host"
        return [Check.HUGE_PAGES.found(health, words, seen=(Seen(source="/sys/devices/system/node/node*/hugepages", value="no size"),))]
    some = any(page.total for page in pages)
    return [
        _huge_pages(
            [page for page in pages if page.size_kib == size],
            [mount for mount in mounts if (mount.size_kib or default_kib) == size],
            asked=size in wanted.page_kib or (wanted.large_pages and not some and size == sizes[0]),
            restart=f"systemctl restart {service}",
        )
        for size in sizes
    ]


def _huge_pages(cells: Sequence[HugePages], mounted: Sequence[HugePageMount], *, asked: bool, restart: str) -> Checkup:
    """One page size; `cells` are its pages in each cell."""
    size, check = cells[0].size_kib, Check.HUGE_PAGES
    what, letter = f"huge pages, {page_words(size)}", page_words(size).replace(" ", "").removesuffix("iB")
    pattern = f"/sys/devices/system/node/node*/hugepages/hugepages-{size}kB/nr_hugepages"
    counted = Seen(source=pattern, value=" ".join(str(cell.total) for cell in cells))
    if not any(cell.total for cell in cells):
        health = Health.POOR if asked else Health.UNUSED
        if size >= _GIB_KIB:
            words = f"none is reserved; boot with hugepagesz={letter} hugepages=N, since memory is seldom unbroken later"
            return check.found(health, words, what=what, seen=(counted,))
        words = f"none is reserved; this reserves {page_words(_SOME * size)} in each cell"
        return check.found(health, words, what=what, seen=(counted,), repair=f"echo {_SOME} | tee {pattern}")
    counts = ", ".join(f"{cell.total} in cell {cell.cell} ({cell.free} free)" for cell in cells)
    if not mounted:
        words = f"{counts}; no hugetlbfs of that size is mounted, and libvirt looks for it when it starts"
        folder = f"/dev/hugepages{letter}"
        repair = f"mkdir -p {folder} && mount -t hugetlbfs -o pagesize={letter} hugetlbfs {folder} && {restart}"
        return check.found(Health.POOR, words, what=what, seen=(counted,), repair=repair)
    paths = ", ".join(mount.path for mount in mounted)
    missed = [Seen(source=f"{mount.path}/{LIBVIRT_PAGES}", value="not there") for mount in mounted if mount.found is False]
    if len(missed) == len(mounted):
        words = f"{counts}; mounted at {paths} after libvirt had started, which looks for hugetlbfs only then"
        advice = "where it is mounted late at each boot, start libvirt after the mount (systemd: After= and RequiresMountsFor=)"
        return check.found(Health.POOR, words, what=what, seen=(counted, *missed), advice=advice, repair=restart)
    return check.found(Health.GOOD, f"{counts}; mounted at {paths}", what=what, seen=(counted,))


def lab_page_checkups(topology: Topology, wanted: Needs) -> list[Checkup]:
    """Whether a lab has huge pages. They are those of its topology, which the machine's own files in sysfs do not show."""
    found = [(cell.id, page) for cell in topology.cells for page in cell.pages[1:] if page.total]
    sizes = {page.size_kib for _, page in found}
    lacking = not wanted.page_kib <= sizes or (wanted.large_pages and not sizes)
    some = ", ".join(f"{page.total} of {page_words(page.size_kib)} in cell {cell}" for cell, page in found)
    if lacking or not found:
        words = f"this lab has {some or 'none'}; a new lab has some with a topology such as 'cell:2 core:8 huge:2048x512'"
        return [Check.HUGE_PAGES.found(Health.POOR if lacking else Health.UNUSED, words)]
    return [Check.HUGE_PAGES.found(Health.GOOD, f"this lab has {some}")]


def libvirt_start(where: Address, installed: Collection[str]) -> str:
    """The command that starts the libvirt at that address; '' where it is no service of this machine, or none is `installed`."""
    if not where.local or where.state_dir != SYSTEM_STATE_DIR:
        return ""
    daemon = next((name for name in LIBVIRT_DAEMONS if name in installed), "")
    return f"systemctl start {daemon}" if daemon else ""
