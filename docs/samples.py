"""One small host, one guest on it, and the JSON documents that commands print of them. `pinfold.host.written` has most of their forms."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from pinfold.agent.story import noted, story
from pinfold.cli.agent import story_document
from pinfold.cli.checks import CheckResult
from pinfold.cli.history import entries_document, tenures_document
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import InferredMasks, Subject, compare
from pinfold.core.encoding import plain
from pinfold.core.fit.answer import Fit, NoFit, Strategy
from pinfold.core.fit.capacity import capacity, demands_of
from pinfold.core.fit.count import count_host
from pinfold.core.fit.engine import fit
from pinfold.core.fit.written import answer_of
from pinfold.core.host import Claim, HostState, Ledger, Locality
from pinfold.core.hosttext import host
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ObservedThread, ThreadClass, masks
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.repin.plan import Repin, SlotChange, Step
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import EmulatorPolicy, Flavor
from pinfold.core.settings import HostSettings
from pinfold.drivers.checkup import Check, Health, Seen
from pinfold.drivers.libvirt.commands import repair_command
from pinfold.drivers.port import GuestState, HostGuest, Observation, Record
from pinfold.host import written
from pinfold.host.adopt import AdoptPlan
from pinfold.host.adoption import Adoption
from pinfold.host.audit import Audit
from pinfold.host.map import map_of
from pinfold.host.orphans import Orphan
from pinfold.host.pool_change import GuestChange, PoolPlan, ThreadMove
from pinfold.host.repair import FailedRepair, RemainingFinding, Repair, RepairedGuest
from pinfold.host.repin import RepinPlan
from pinfold.host.survey import Survey
from pinfold.host.verify import GuestOrigin, Verdict
from pinfold.watch.changes import Change, ChangeKind
from pinfold.watch.journal import Entry, Excerpt
from pinfold.watch.tenures import tenures

_ID = "3f6a1c52-7c1e-4a5e-9d0b-0a4b6f1f2d11"
_SPECS = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
_CONFIG = PoolConfig(shared=CpuSet.of(0), dedicated=CpuSet.of(1, 2, 3))
_CHECKUPS = (
    Check.INTERRUPTS.found(
        Health.POOR,
        "1 of 24 interrupts are delivered to dedicated pCPUs: 31 (eth0-rx-0)",
        seen=(Seen(source="/proc/irq/31/effective_affinity_list", value="3"),),
        advice="where irqbalance runs, name the pCPUs in IRQBALANCE_BANNED_CPULIST too",
        repair="for irq in 31; do echo 0 > /proc/irq/$irq/smp_affinity_list; done",
    ),
)


def documents() -> list[tuple[str, dict[str, Any]]]:
    """`(title, document)` for each shape."""
    topology = host("core:4 mem:4096")
    pools, warnings = build_pools(_CONFIG, topology)
    empty = HostState(topology=topology, pools=pools, name="c07")
    request = compile_request(Flavor(vcpus=2, memory_mib=512, extra_specs=_SPECS))
    placed, refused = (
        fit(request, empty, Strategy.SPREAD),
        fit(compile_request(Flavor(vcpus=4, memory_mib=512, extra_specs=_SPECS)), empty, Strategy.SPREAD),
    )
    assert isinstance(placed, Fit)
    assert isinstance(refused, NoFit)
    record = Record(guest=_ID, policy=EmulatorPolicy.SHARE, fit=placed, flavor="rt.share")
    guest = HostGuest(id=_ID, name="web", state=GuestState.RUNNING, vcpus=2, memory_mib=512, pid=4711, record=record)
    seen = Survey(
        state=HostState(topology=topology, pools=pools, name="c07", ledger=Ledger(claims=(Claim(guest=_ID, fit=placed),))),
        guests=(guest,),
        warnings=warnings,
    )
    observation = Observation(threads=(_thread(4711, "qemu-system-x86", None, "0"), _thread(4714, "CPU 0/KVM", 0, "1")), witness="procfs")
    stray = Observation(threads=(_thread(4711, "qemu-system-x86", None, "0-3"),), witness="procfs")
    subject = Subject(name="web", id=_ID, pid=4711, owner="pinfold")
    (finding,) = compare(subject, masks(placed), stray.threads, topology.online)[:1]
    findings = (structs.replace(finding, repair=repair_command("qemu:///system", subject, finding.steps)),)
    drifted = Verdict(guest=guest, policy=EmulatorPolicy.SHARE, masks=masks(placed), observation=stray, findings=findings)
    why = "the guest is Nova's, and a repair moves guests of ours alone"
    left = tuple(RemainingFinding(finding=structs.replace(finding, guest="router", by_record=False), why=why) for finding in findings)
    sound = structs.replace(drifted, observation=observation, findings=())
    repaired = RepairedGuest(before=drifted, after=sound)
    failed = FailedRepair(id=GuestId(_ID), name="web", why="a thread cannot be moved")
    orphan = Orphan(guest=guest, holds=placed.taken, disk=None)
    checked = CheckResult(
        files=("/etc/pinfold/pinfold.conf",),
        warnings=(),
        host="checked against qemu:///system",
        pools={"dedicated": "1-3"},
        locality=Locality.POOL,
    )
    stories = noted(noted({}, _ID, "start begins", time=1_764_316_800.0, name="web"), _ID, "it is running", time=1_764_316_801.0)
    move = ThreadMove(thread_class=ThreadClass.EMULATOR, count=4, before=CpuSet.of(0), after=CpuSet.of(0, 4))
    change = GuestChange(
        guest=guest,
        origin=GuestOrigin.OURS,
        before=masks(placed),
        after=structs.replace(masks(placed), overhead=CpuSet.of(0, 4)),
        pending=True,
        moves=(move,),
        record=record,
    )
    stranger = structs.replace(guest, record=None)
    spread = InferredMasks(vcpus=masks(placed).vcpus, overhead=CpuSet.parse("0-3"))
    adoptable = Adoption(guest=stranger, before=spread, record=record)
    (cell,) = placed.cells
    elsewhere = structs.replace(placed, cells=(structs.replace(cell, pins=((0, 2), (1, 3))),))
    repinned = Repin(
        steps=(Step(guest=GuestId(_ID), before=placed, after=elsewhere),),
        freed=CpuSet.of(1),
        slots=(SlotChange(flavor="rt.share", vcpus=2, before=1, after=0),),
    )
    told = (
        Change(kind=ChangeKind.CAME, guest="web", guest_id=_ID, after="nova, share, server vm1"),
        Change(kind=ChangeKind.OWNER, pcpu=2, after=f"vcpu {_ID} web"),
    )
    entries = tuple(Entry(at=1_764_316_800.0, change=change) for change in told)
    part = Excerpt(entries=entries, snapshot=None, begins=1_764_000_000.0, seen=1_764_316_810.0)
    settings = HostSettings(pools=_CONFIG, source="/etc/pinfold/pinfold.conf")
    return [
        ("`fit`, and `guest start` that is refused: it fits", plain(answer_of(placed, "c07", not_acted_upon=()))),
        (
            "`fit`, and `guest start` that is refused: it does not fit",
            plain(answer_of(refused, "c07", not_acted_upon=())),
        ),
        ("`guest list`: one of `guests`", plain(guest)),
        (
            "`guest show`, `guest start`, `guest restart`",
            plain(written.proof(sound)),
        ),
        ("`audit`", plain(written.audit(Audit(seen=seen, guests=(drifted,), host_findings=(), verified=True)))),
        ("`repair`", plain(written.repair(Repair(done=(repaired,), left=left, failed=(failed,))))),
        ("`guest adopt`", plain(written.adoption(AdoptPlan(seen=seen, found=adoptable, moves=(move,)), None))),
        ("`guest release`", {"released": True, "guest": plain(structs.replace(guest, record=None))}),
        ("`guest stop`", {"stopped": True, "removed": False, "guest": plain(guest)}),
        (
            "`guest orphans`",
            {"orphans": [plain(orphan)], "removed": False, "files_deleted": False},
        ),
        ("`config check`", plain(checked)),
        ("`doctor`", {"checks": plain(_CHECKUPS)}),
        ("`agent story`", story_document(story(stories, _ID))),
        ("`host show`", plain(written.host(seen, map_of(seen), settings))),
        ("`host pools`", plain(written.pool_plan(PoolPlan(seen=seen, changes=(change,)), None))),
        ("`host repin`", plain(written.repin(RepinPlan(seen=seen, found=repinned), None))),
        ("`host map`", plain(map_of(seen))),
        ("`host capacity`", _capacity(seen.state)),
        ("`history`", entries_document(part)),
        ("`history --pcpu`", tenures_document(2, part, tenures(part.entries, told[1].after, begins=part.begins))),
    ]


def _capacity(state: HostState) -> dict[str, Any]:
    """What `host capacity` prints."""
    asked, refused = demands_of([Flavor(name="rt.share", vcpus=2, memory_mib=512, extra_specs=_SPECS)])
    left: dict[str, Any] = plain(capacity(count_host(state), asked))
    return {**left, "not_counted": plain(refused), "warnings": []}


def _thread(tid: int, name: str, vcpu: int | None, cpus: str) -> ObservedThread:
    kind = ThreadClass.EMULATOR if vcpu is None else ThreadClass.VCPU
    return ObservedThread(tid=tid, name=name, thread_class=kind, allowed=CpuSet.parse(cpus), vcpu=vcpu)
