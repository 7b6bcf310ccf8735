"""Judge whether a host of libvirt's is ready for realtime guests and for huge pages, and give the repair if not. Pure; `linux` reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from msgspec.structs import replace

from pinfold.core.plural import page_words
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Checkup, Health, Needs
from pinfold.drivers.libvirt.address import SYSTEM_STATE_DIR, Address
from pinfold.linux.grants import Grants, HugePageMount, RealtimeShare
from pinfold.linux.sysfs import HugePages

_GIB_KIB: Final = 1 << 20
LIBVIRT_DAEMONS: Final = ("libvirtd", "virtqemud")
"""The services of systemd that answer at qemu:///system, the usual one of Debian and Ubuntu first."""
_SOME: Final = 512
"""Pages to begin with."""


def realtime_checkups(daemon: Grants, share: RealtimeShare, wanted: Needs, *, priority: int, lab: bool = False) -> list[Checkup]:
    """Whether `daemon`, which starts the guests, can give vCPUs SCHED_FIFO at `priority`, and guests locked memory.

    The daemon of a `lab` is no service of the machine: the lab's options, and the shell that started it, decide what it may do.
    Sources: sched(7), the kernel's sched-rt-group.rst, and libvirt's `<vcpusched>` and `<locked/>`.
    """
    who = f"{daemon.process} ({daemon.pid})"
    lacking = Health.POOR if wanted.realtime else Health.UNUSED
    fifo = Checkup(what="SCHED_FIFO", health=Health.GOOD, words=f"{who} may give it to vCPUs, at priority {priority}")
    if not daemon.sys_nice and daemon.rtprio < priority:
        words = f"{who} lacks CAP_SYS_NICE, and its limit of realtime priority is {daemon.rtprio}, {priority} needed"
        fifo = _lacking(fifo, lacking, words, "" if lab else _limit(daemon, f"LimitRTPRIO={priority}"))
    elif share.groups:
        way_out = (
            "a lab without cgroups (`--no-cgroups`) may"
            if lab
            else f"take cpu out of cgroup_controllers in /etc/libvirt/qemu.conf and restart {daemon.process}, or boot with "
            "systemd.unified_cgroup_hierarchy=1"
        )
        fifo = replace(fifo, health=lacking, words=f"cgroup v1 at {share.groups} gives each new group no realtime at all; {way_out}")
    locked = Checkup(what="locked memory", health=Health.GOOD, words=f"{who} may lift a guest's limit of it")
    if not daemon.sys_resource and daemon.memlock_kib is not None:
        words = f"{who} lacks CAP_SYS_RESOURCE, and no guest of it may lock more than {daemon.memlock_kib >> 10} MiB"
        health = Health.POOR if wanted.realtime or wanted.locked else Health.UNUSED
        locked = _lacking(locked, health, words, "" if lab else _limit(daemon, "LimitMEMLOCK=infinity"))
    return [fifo, _throttling(share, lacking), locked]


def _lacking(one: Checkup, health: Health, words: str, repair: str) -> Checkup:
    """The checkup of something that the daemon may not do. Without a repair the daemon is a lab's."""
    return replace(one, health=health, words=words if repair else f"{words}; start the lab anew from a shell that may do it", repair=repair)


def _limit(daemon: Grants, setting: str) -> str:
    folder = f"/etc/systemd/system/{daemon.process}.service.d"
    name = setting.partition("=")[0]
    return (
        f"mkdir -p {folder} && printf '[Service]\\n{setting}\\n' > {folder}/{name}.conf "
        f"&& systemctl daemon-reload && systemctl restart {daemon.process}"
    )


def _throttling(share: RealtimeShare, lacking: Health) -> Checkup:
    what = "realtime throttling"
    if share.runtime_us < 0:
        return Checkup(what=what, health=Health.GOOD, words="off: a vCPU that never sleeps keeps its pCPU")
    kept = f"{(share.period_us - share.runtime_us) / 1000:g} of every {share.period_us / 1000:g} ms"
    words = f"a realtime vCPU that never sleeps is stopped for {kept}"
    return Checkup(what=what, health=lacking, words=words, repair="sysctl -w kernel.sched_rt_runtime_us=-1")


def huge_page_checkups(
    pages: Sequence[HugePages], mounts: Sequence[HugePageMount], wanted: Needs, *, default_kib: int | None
) -> list[Checkup]:
    """For each huge page size of the kernel, ascending, whether pages are reserved, and mounted where libvirt finds them."""
    sizes = sorted({page.size_kib for page in pages})
    if not sizes:
        asked = wanted.large_pages or bool(wanted.page_kib)
        words = "the kernel has none; guests that ask for them fit nowhere on this host"
        return [Checkup(what="huge pages", health=Health.POOR if asked else Health.UNUSED, words=words)]
    some = any(page.total for page in pages)
    return [
        _huge_pages(
            [page for page in pages if page.size_kib == size],
            [mount.path for mount in mounts if (mount.size_kib or default_kib) == size],
            asked=size in wanted.page_kib or (wanted.large_pages and not some and size == sizes[0]),
        )
        for size in sizes
    ]


def _huge_pages(cells: Sequence[HugePages], mounted: Sequence[str], *, asked: bool) -> Checkup:
    """One page size; `cells` are its pages in each cell."""
    size = cells[0].size_kib
    what, letter = f"huge pages, {page_words(size)}", page_words(size).replace(" ", "").removesuffix("iB")
    if not any(cell.total for cell in cells):
        health = Health.POOR if asked else Health.UNUSED
        if size >= _GIB_KIB:
            words = f"none is reserved; boot with hugepagesz={letter} hugepages=N, since memory is seldom unbroken later"
            return Checkup(what=what, health=health, words=words)
        files = f"/sys/devices/system/node/node*/hugepages/hugepages-{size}kB/nr_hugepages"
        words = f"none is reserved; this reserves {page_words(_SOME * size)} in each cell"
        return Checkup(what=what, health=health, words=words, repair=f"echo {_SOME} | tee {files}")
    counts = ", ".join(f"{cell.total} in cell {cell.cell} ({cell.free} free)" for cell in cells)
    if not mounted:
        words = f"{counts}; no hugetlbfs of that size is mounted, and libvirt looks for it when it starts"
        folder = f"/dev/hugepages{letter}"
        repair = f"mkdir -p {folder} && mount -t hugetlbfs -o pagesize={letter} hugetlbfs {folder} && systemctl restart libvirtd"
        return Checkup(what=what, health=Health.POOR, words=words, repair=repair)
    return Checkup(what=what, health=Health.GOOD, words=f"{counts}; mounted at {', '.join(mounted)}")


def lab_page_checkups(topology: Topology, wanted: Needs) -> list[Checkup]:
    """Whether a lab has huge pages. They are those of its topology, which the machine's own files in sysfs do not show."""
    what, found = "huge pages", [(cell.id, page) for cell in topology.cells for page in cell.pages[1:] if page.total]
    sizes = {page.size_kib for _, page in found}
    lacking = not wanted.page_kib <= sizes or (wanted.large_pages and not sizes)
    some = ", ".join(f"{page.total} of {page_words(page.size_kib)} in cell {cell}" for cell, page in found)
    if lacking or not found:
        words = f"this lab has {some or 'none'}; a new lab has some with a topology such as 'cell:2 core:8 huge:2048x512'"
        return [Checkup(what=what, health=Health.POOR if lacking else Health.UNUSED, words=words)]
    return [Checkup(what=what, health=Health.GOOD, words=f"this lab has {some}")]


def libvirt_start(where: Address, installed: Collection[str]) -> str:
    """The command that starts the libvirt at that address; '' where it is no service of this machine, or none is `installed`."""
    if not where.local or where.state_dir != SYSTEM_STATE_DIR:
        return ""
    daemon = next((name for name in LIBVIRT_DAEMONS if name in installed), "")
    return f"systemctl start {daemon}" if daemon else ""
