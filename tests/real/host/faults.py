"""Faults on real guests, what the audit calls each, and where a fault cannot occur. How a host is reached does not belong here (`Host`).

One list for every kind of host: a lab on this machine, with cgroup v1 and without, KVM and TCG; a small emulated machine with cgroup v2.
A case needs no more pCPUs than it says; pCPU 0 is shared and 1 is dedicated on all of them. Commands are for a shell; in them

    {uri}            the libvirt address
    {pid}            the process of guest `vm`
    {vcpu0} {worker} the ids of the thread of its vCPU 0, of one thread of the emulator's that is not the main thread,
    {iothread} {nx}  of its first iothread, of its thread `kvm-nx-lpage-recovery`
    {vcpu0_tasks}    the file that takes a thread to the cpuset cgroup of vCPU 0
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

_NOVA = """<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>vm</nova:name>
<nova:flavor name="m1.pinned"><nova:memory>16</nova:memory><nova:disk>0</nova:disk><nova:swap>0</nova:swap>
<nova:ephemeral>0</nova:ephemeral><nova:vcpus>{vcpus}</nova:vcpus>{specs}</nova:flavor></nova:instance>"""

Pools = tuple[str | None, str | None, str | None]
"""The shared, the dedicated and the overhead set, in words."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A guest as Nova or an operator would define it by hand. `specs` None: an older Nova, which writes none."""

    name: str = "vm"
    vcpus: int = 1
    cputune: str = ""
    placement: str = ""
    nova: bool = True
    specs: Mapping[str, str] | None = None
    iothreads: int = 0

    def text(self, *, kind: str, rom: str) -> str:
        """The domain XML, for the virtualisation `kvm` or `qemu`."""
        written = "".join(f'<nova:extraSpec name="{key}">{value}</nova:extraSpec>' for key, value in (self.specs or {}).items())
        specs = "" if self.specs is None else f"<nova:extraSpecs>{written}</nova:extraSpecs>"
        metadata = _NOVA.format(vcpus=self.vcpus, specs=specs) if self.nova else ""
        placement = f" cpuset='{self.placement}'" if self.placement else ""
        iothreads = f"<iothreads>{self.iothreads}</iothreads>" if self.iothreads else ""
        return f"""<domain type='{kind}'><name>{self.name}</name><uuid>{uuid.uuid4()}</uuid><metadata>{metadata}</metadata>
        <memory unit='MiB'>16</memory><vcpu placement='static'{placement}>{self.vcpus}</vcpu>{iothreads}
        <cputune>{self.cputune}</cputune><os><type arch='x86_64' machine='pc'>hvm</type>
        <loader readonly='yes' type='rom'>{rom}</loader></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
        <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finding as `pinfold audit --json` has it."""

    code: str
    guest: str
    sentence: str
    repair: str
    advice: str
    severity: str


class Host(Protocol):
    """One host that cases run on."""

    kvm: bool
    cgroups: str
    """`v1`, `v2` or `none`: what confines guests' threads."""
    pcpus: int
    uri: str

    def define(self, domain: Domain) -> None:
        """Define a guest and start it."""
        ...

    def start_ours(self, name: str, specs: Mapping[str, str], iothreads: int) -> None:
        """Start a guest of ours, of one vCPU and 16 MiB."""
        ...

    def shell(self, command: str) -> None:
        """Run a command as root on the host. Raises when it fails."""
        ...

    def audit(self, pools: Pools) -> Sequence[Found]:
        """Everything found about guests, and about who owns their pCPUs; other processes of the host are left out."""
        ...

    def masks(self) -> Mapping[int, str]:
        """Thread id -> `Cpus_allowed_list`, of every thread of every guest's process, by procfs alone."""
        ...

    def names(self) -> Mapping[str, str]:
        """What stands for `{uri}`, `{pid}` and the others in a case's commands."""
        ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault. `codes` are those of the findings that it must raise; `impossible` says where it cannot occur, and why, by `kvm`, `tcg`,
    `v1`, `v2` and `none`. `commanded` is False where no command is safe, and the advice stands alone. `moves` is False for a fault that the
    guest has from its start, so that its own threads were never in their place. `cleanup` runs in the end, whatever happened. No codes
    stand for a fault that must raise nothing.
    """

    id: str
    codes: tuple[str, ...]
    fault: tuple[str, ...] = ()
    cleanup: tuple[str, ...] = ()
    guests: tuple[Domain, ...] = ()
    ours: Mapping[str, str] | None = None
    iothreads: int = 0
    pools: Pools = ("0", "1", None)
    faulty_pools: Pools | None = None
    pcpus: int = 2
    commanded: bool = True
    moves: bool = True
    impossible: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, host: Host) -> str:
        """Why the fault cannot occur on such a host, '' where it can."""
        for kind in ("kvm" if host.kvm else "tcg", host.cgroups):
            if kind in self.impossible:
                return self.impossible[kind]
        return f"it needs {self.pcpus} pCPUs, this host has {host.pcpus}" if host.pcpus < self.pcpus else ""


PINNED = "<vcpupin vcpu='0' cpuset='1'/>"
SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
ISOLATE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"}
DEDICATED = {"hw:cpu_policy": "dedicated"}
ON_POOL = f"{PINNED}<emulatorpin cpuset='0'/>"
OVER_OWN = f"{PINNED}<emulatorpin cpuset='1'/>"

_SHARE = Domain(cputune=ON_POOL, specs=SHARE)
_UNSET = Domain(cputune=OVER_OWN, specs=DEDICATED)
_FLOATS = Domain(placement="0", specs={})
_KEPT_BY_CPUSET = "a cpuset cgroup of one pCPU keeps its threads there; taskset says EINVAL"
_NOT_HERE = "a pCPU that is switched off takes every process of this machine along; the small machine, with cgroup v2, runs it"
_NO_FIFO = "RT group scheduling gives /machine no realtime runtime: chrt says EPERM"

CASES = (
    # The emulator's pin is wrong: every way in which it can be.
    Case(
        id="share: emulator pin moved onto the vCPU's pCPU, live and for the next start",
        codes=("emulator-policy",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' emulatorpin vm 1 --live --config", "taskset -pc 1 {worker}"),
    ),
    Case(
        id="share: emulator pin moved live",
        codes=("emulator-policy",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' emulatorpin vm 1 --live",),
    ),
    Case(
        id="share: emulator pin changed for the next start alone",
        codes=("emulator-policy",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' emulatorpin vm 1 --config",),
    ),
    Case(
        id="share: emulator pin widened",
        codes=("emulator-policy",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' emulatorpin vm 0-1 --live --config", "taskset -pc 0-1 {worker}"),
    ),
    Case(
        id="no policy: emulator pin moved onto the shared pool",
        codes=("emulator-policy",),
        guests=(_UNSET,),
        fault=("virsh -c '{uri}' emulatorpin vm 0 --live --config",),
    ),
    Case(
        id="no policy: emulator pin widened live",
        codes=("emulator-policy",),
        guests=(_UNSET,),
        fault=("virsh -c '{uri}' emulatorpin vm 0-1 --live",),
    ),
    Case(
        id="isolate: emulator pin moved live onto the vCPU's pCPU",
        codes=("emulator-policy",),
        guests=(Domain(cputune=ON_POOL, specs=ISOLATE),),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' emulatorpin vm 1 --live",),
    ),
    Case(
        id="isolate: emulator pin lost everywhere",
        codes=("emulator-policy",),
        guests=(Domain(cputune=ON_POOL, specs=ISOLATE),),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' emulatorpin vm 1 --live --config",),
        commanded=False,
    ),
    Case(
        id="an older Nova's share: emulator pin moved live",
        codes=("emulator-policy",),
        guests=(Domain(cputune=ON_POOL),),
        fault=("virsh -c '{uri}' emulatorpin vm 0-1 --live", "taskset -pc 0-1 {worker}"),
    ),
    Case(
        id="share: the pool is another one today",
        codes=("emulator-policy", "outside-pool"),
        guests=(_SHARE,),
        faulty_pools=("1", "0", None),
        commanded=False,
    ),
    Case(
        id="share: the pool has grown",
        codes=("pool-part",),
        guests=(Domain(cputune="<vcpupin vcpu='0' cpuset='3'/><emulatorpin cpuset='0'/>", specs=SHARE),),
        pools=("0", "2-3", None),
        faulty_pools=("0-1", "2-3", None),
        pcpus=4,
        moves=False,
    ),
    # vCPUs.
    Case(
        id="no policy: vCPU re-pinned live onto a free dedicated pCPU",
        codes=("definition-pins",),
        guests=(_UNSET,),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --live",),
    ),
    Case(
        id="share: vCPU re-pinned live onto a free dedicated pCPU",
        codes=("definition-pins",),
        guests=(_SHARE,),
        pools=("0", "1-3", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 2 --live",),
        pcpus=4,
    ),
    Case(
        id="share: vCPU re-pinned live onto the shared pool",
        codes=("definition-pins",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --live",),
    ),
    Case(
        id="share: vCPU pin changed for the next start alone, out of the dedicated pool",
        codes=("definition-pins",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --config",),
    ),
    Case(
        id="no policy: vCPU pin changed for the next start alone, against its own emulator pin",
        codes=("definition-pins",),
        guests=(_UNSET,),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --config",),
    ),
    Case(
        id="share without a pool: vCPU re-pinned live onto a free dedicated pCPU",
        codes=("definition-pins",),
        guests=(Domain(cputune=OVER_OWN, specs=SHARE),),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --live",),
    ),
    Case(
        id="share without a pool: vCPU pin changed for the next start alone, to a pCPU as good",
        codes=("definition-pins",),
        guests=(Domain(cputune=OVER_OWN, specs=SHARE),),
        pools=(None, "0-1", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --config",),
        commanded=False,
    ),
    Case(
        id="isolate: emulator pin changed for the next start alone, to a pCPU as good",
        codes=("emulator-policy",),
        guests=(Domain(cputune=f"{PINNED}<emulatorpin cpuset='2'/>", specs=ISOLATE),),
        pools=(None, "0-3", None),
        fault=("virsh -c '{uri}' emulatorpin vm 3 --config",),
        pcpus=4,
        commanded=False,
    ),
    Case(
        id="share: vCPU pin changed for the next start alone, to a pCPU as good",
        codes=("definition-pins",),
        guests=(_SHARE,),
        pools=("0", "1-3", None),
        fault=("virsh -c '{uri}' vcpupin vm 0 2 --config",),
        pcpus=4,
        commanded=False,
    ),
    Case(
        id="share: vCPU pin lost everywhere",
        codes=("definition-pins",),
        guests=(_SHARE,),
        fault=("virsh -c '{uri}' vcpupin vm 0 0-1 --live --config",),
        commanded=False,
    ),
    Case(
        id="a floating guest pinned live onto a dedicated pCPU",
        codes=("definition-pins",),
        guests=(_FLOATS,),
        fault=("virsh -c '{uri}' vcpupin vm 0 1 --live",),
    ),
    Case(
        id="a floating guest pinned onto a dedicated pCPU, live and for the next start",
        codes=("definition-pins",),
        guests=(_FLOATS,),
        fault=("virsh -c '{uri}' vcpupin vm 0 1 --live --config",),
    ),
    Case(
        id="a floating guest that Nova starts without a set",
        codes=("outside-pool",),
        guests=(Domain(specs={}),),
        moves=False,
    ),
    # Threads behind libvirt's back.
    Case(
        id="a vCPU's thread moved by taskset",
        codes=("vcpu-thread",),
        guests=(_SHARE,),
        fault=("taskset -pc 0-1 {vcpu0}",),
        impossible={"v1": _KEPT_BY_CPUSET, "v2": _KEPT_BY_CPUSET},
    ),
    Case(
        id="all emulator threads moved by taskset",
        codes=("emulator-thread",),
        guests=(_SHARE,),
        fault=("taskset -pc 0-1 {pid}", "taskset -pc 0-1 {worker}"),
        impossible={"v1": _KEPT_BY_CPUSET, "v2": _KEPT_BY_CPUSET},
    ),
    Case(
        id="an emulator thread in the cgroup of a vCPU",
        codes=("emulator-thread",),
        guests=(_SHARE,),
        fault=("echo {worker} | tee {vcpu0_tasks}",),
        impossible={"none": "there are no cgroups"},
    ),
    Case(
        id="an iothread moved by taskset",
        codes=("iothread",),
        guests=(Domain(cputune=f"{ON_POOL}<iothreadpin iothread='1' cpuset='0'/>", specs=SHARE, iothreads=1),),
        fault=("taskset -pc 0-1 {iothread}",),
        impossible={"v1": _KEPT_BY_CPUSET, "v2": _KEPT_BY_CPUSET},
    ),
    Case(
        id="an iothread pinned onto the vCPU's pCPU",
        codes=("definition-pins",),
        guests=(Domain(cputune=f"{ON_POOL}<iothreadpin iothread='1' cpuset='0'/>", specs=SHARE, iothreads=1),),
        fault=("virsh -c '{uri}' iothreadpin vm 1 1 --live --config",),
    ),
    Case(
        id="an emulator thread under a realtime scheduler",
        codes=("realtime-unexpected",),
        guests=(_SHARE,),
        fault=("chrt --fifo --pid 1 {worker}",),
        impossible={"v1": _NO_FIFO},
    ),
    Case(
        id="a realtime vCPU without its scheduler",
        codes=("realtime-missing",),
        guests=(
            Domain(
                cputune=f"{ON_POOL}<vcpusched vcpus='0' scheduler='fifo' priority='1'/>",
                specs=SHARE | {"hw:cpu_realtime": "yes"},
            ),
        ),
        fault=("chrt --other --pid 0 {vcpu0}",),
        impossible={"v1": _NO_FIFO},
    ),
    # Guests of ours.
    Case(
        id="ours: emulator pin moved, live and for the next start",
        codes=("definition-pins",),
        ours=SHARE,
        fault=("virsh -c '{uri}' emulatorpin vm 1 --live --config",),
    ),
    Case(
        id="ours: vCPU pin changed for the next start alone",
        codes=("definition-pins",),
        ours=SHARE,
        fault=("virsh -c '{uri}' vcpupin vm 0 0 --config",),
    ),
    Case(
        id="ours: iothread pinned onto the vCPU's pCPU",
        codes=("definition-pins",),
        ours=SHARE,
        iothreads=1,
        fault=("virsh -c '{uri}' iothreadpin vm 1 1 --live",),
    ),
    Case(
        id="ours: KVM's thread beside the vCPU",
        codes=("kernel-thread",),
        ours=SHARE,
        fault=("taskset -pc 1 {nx}",),
        impossible={
            "tcg": "KVM makes it, for its own guests alone",
            "v1": "a cpuset cgroup keeps it; see the next case",
            "v2": "a cpuset cgroup keeps it; see the next case",
        },
    ),
    Case(
        id="ours: KVM's thread in the cgroup of the vCPU",
        codes=("kernel-thread",),
        ours=SHARE,
        fault=("echo {nx} | tee {vcpu0_tasks}",),
        impossible={"tcg": "KVM makes it, for its own guests alone", "none": "there are no cgroups"},
    ),
    # pCPUs that are switched off, which only a machine of the test's own can bear.
    Case(
        id="a pCPU of the shared pool is switched off",
        codes=(),
        guests=(Domain(cputune="<vcpupin vcpu='0' cpuset='2'/><emulatorpin cpuset='0-1'/>", specs=SHARE),),
        pools=("0-1", "2-3", None),
        fault=("echo 0 | tee /sys/devices/system/cpu/cpu1/online",),
        cleanup=("echo 1 | tee /sys/devices/system/cpu/cpu1/online",),
        pcpus=4,
        impossible={"v1": _NOT_HERE, "none": _NOT_HERE},
    ),
    Case(
        id="a pCPU of the shared pool is switched off, and the emulator pin moved",
        codes=("emulator-policy",),
        guests=(Domain(cputune="<vcpupin vcpu='0' cpuset='2'/><emulatorpin cpuset='0-1'/>", specs=SHARE),),
        pools=("0-1", "2-3", None),
        fault=("echo 0 | tee /sys/devices/system/cpu/cpu1/online", "virsh -c '{uri}' emulatorpin vm 3 --live --config"),
        cleanup=("echo 1 | tee /sys/devices/system/cpu/cpu1/online",),
        pcpus=4,
        moves=False,
        impossible={"v1": _NOT_HERE, "none": _NOT_HERE},
    ),
    # Others.
    Case(
        id="a stranger that floats over the dedicated pool",
        codes=("foreign-floating",),
        guests=(Domain(nova=False, iothreads=1),),
        moves=False,
    ),
    Case(
        id="two guests of Nova's on one pCPU",
        codes=("two-owners",),
        guests=(Domain(name="vm", cputune=ON_POOL, specs=SHARE), Domain(name="vm-2", cputune=ON_POOL, specs=SHARE)),
        commanded=False,
        moves=False,
    ),
    Case(
        id="two guests of Nova's on one pCPU, one of them shut off",
        codes=("two-owners",),
        guests=(Domain(name="vm", cputune=ON_POOL, specs=SHARE), Domain(name="vm-2", cputune=ON_POOL, specs=SHARE)),
        fault=("virsh -c '{uri}' destroy vm-2",),
        commanded=False,
        moves=False,
    ),
    Case(
        id="no pools in the configuration",
        codes=("pools-missing",),
        guests=(_UNSET, Domain(name="vm-2", cputune=ON_POOL.replace("1", "0"), specs=SHARE)),
        pools=(None, None, None),
        commanded=False,
        moves=False,
    ),
)
"""Every fault, and what it is called."""

WITHOUT_A_CASE = {
    "vhost-thread": "no vhost without a network card of KVM's; its command is that of `emulator-thread`",
    "vcpu-missing": "no command: a vCPU's thread cannot be made from outside",
    "vcpu-unexpected": "no command: the record was made for another number of vCPUs",
    "threads-unseen": "no command: the process has ended",
    "threads-unsettled": "no command: the walk is repeated",
    "definition-realtime": "no command: virsh has none for a guest's scheduler",
    "pcpu-offline": "in tests/machine/small/inside/policies.py, which can switch a pCPU off",
    "sibling-busy": "no command: only Nova, or a new place, gives a guest other cores; in test_strangers.py",
    "memory-cell": "no command: memory stays where it is until the guest starts anew",
    "foreign-process": "in test_strangers.py: a process of the host is no guest",
    "record-unreadable": "no command; in test_strangers.py",
    "repair-undone": "no command: whoever undoes the repairs has to stop; in tests/watch/test_repairs.py",
}
"""The findings that no case raises, and why."""
