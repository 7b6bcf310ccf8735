"""A fleet to look at: three hosts with forty guests, one of them tight, one with drift and a starving emulator, one with room."""

from __future__ import annotations

import math

from msgspec.structs import replace
from tests.build.hosts import NO_RESERVE, report
from tests.rig.client import SHARE
from tests.rig.in_process import Agent, Fleet
from tests.stories.test_drift import finds

from pinfold.agent.wire import ThreadReport
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, SeenThread
from pinfold.core.encoding import plain, reader
from pinfold.core.fit.answer import Fit
from pinfold.core.history import GuestHistory, GuestMemory, HistoryAnswer, HostHistory, PcpuHistory, PoolHistory
from pinfold.core.host import OverheadRates
from pinfold.core.overhead import ThreadClass
from pinfold.store.records import Observed

SAMPLES = 360
LIMITS = replace(NO_RESERVE, rates=OverheadRates(guest=40, vcpu=2, disk=0, nic=0))


def draw_fleet(fleet: Fleet) -> dict[str, str]:
    """Hosts `tight`, `adrift` and `roomy` with forty guests. Returns the guests' ids by name."""
    fleet.flavor("share-1", vcpus=1, **SHARE)
    fleet.flavor("share-2", vcpus=2, **SHARE)
    fleet.flavor("share-4", vcpus=4, **SHARE)
    made = {}
    for host, number, flavor in (("tight", 23, "share-1"), ("adrift", 12, "share-2"), ("roomy", 5, "share-2")):
        fleet.host(host, report(cores=10, limits=LIMITS))
        for place in range(number):
            name = f"{host[0]}{place:02}-{'web' if place % 3 else 'db'}"
            made[name] = fleet.create(name, flavor, host=host)
    fleet.obey()
    finds(fleet.agents["adrift"], drift(made["a05-web"], "a05-web"))
    for host in ("tight", "roomy"):
        finds(fleet.agents[host])
    return made


def drift(guest: str, name: str) -> Finding:
    """An emulator thread that may run on everything."""
    return Finding(
        code=FindingCode.EMULATOR_THREAD,
        guest=name,
        guest_id=guest,
        tid=4711,
        thread="worker",
        thread_class=ThreadClass.EMULATOR,
        threads=((4711, "worker"),),
        recorded="0-1",
        observed="0-39",
        repair="taskset -pc 0-1 4711",
    )


def hour(host: str, guests: dict[str, str], *, hungry: str = "", noisy: str = "", samples: int = SAMPLES) -> HostHistory:
    """An hour of a host: waves of work; towards the end the emulator threads of `hungry` wait, and those of `noisy` work."""
    late = [0.0] * (samples * 2 // 3) + [1.0] * (samples - samples * 2 // 3)

    def wave(seed: int, high: int) -> tuple[int, ...]:
        return tuple(round(high * (1 + math.sin(seed + place / 23)) / 2) for place in range(samples))

    def of_guest(seed: int, guest: str, name: str) -> tuple[GuestHistory, GuestHistory]:
        work = tuple(round(900 * part) for part in late) if name == noisy else wave(seed, 20)
        wait = tuple(round(620 * part) for part in late) if name == hungry else wave(seed, 8)
        amounts = ((ThreadClass.VCPU, wave(seed, 1400), wave(seed, 20)), (ThreadClass.EMULATOR, work, wait))
        vcpu, emulator = (
            GuestHistory(guest=guest, name=name, thread_class=kind, work_millicpu=worked, wait_millicpu=waited)
            for kind, worked, waited in amounts
        )
        return vcpu, emulator

    rows = [row for seed, (name, guest) in enumerate(guests.items()) for row in of_guest(seed, guest, name)]
    return HostHistory(
        host=host,
        step_seconds=10.0,
        ends=tuple(1795892400.0 + 10.0 * place for place in range(samples)),
        seconds=(10.0,) * samples,
        guests=tuple(rows),
        pcpus=tuple(
            PcpuHistory(
                pcpu=pcpu,
                work_millicpu=tuple(round(460 * part) for part in late) if pcpu < 2 and noisy else wave(pcpu, 950),
                wait_millicpu=tuple(round(700 * part) for part in late) if pcpu < 2 and hungry else wave(pcpu, 40),
                others_millicpu=wave(pcpu, 300) if pcpu == 7 else (),
            )
            for pcpu in range(40)
        ),
        memory=tuple(GuestMemory(guest=guest, mib=((0, 48), (1, 16)) if name == hungry else ((0, 64),)) for name, guest in guests.items()),
        pools=(
            PoolHistory(
                pool="overhead",
                work_millicpu=tuple(round(920 * part) for part in late) if noisy else wave(1, 1500),
                wait_millicpu=tuple(round((700 if hungry else 15) * part) for part in late),
            ),
            PoolHistory(pool="dedicated", work_millicpu=wave(2, 20000), wait_millicpu=wave(2, 60)),
        ),
    )


def seen_threads(fleet: Fleet, agent: Agent, guest: str, *, astray: str = "") -> None:
    """The agent reports the threads of a guest where they are recorded, but for a worker that may run on `astray`."""
    order = agent.order(guest)
    fit = reader(Fit)(order["claim"]["fit"], "a fit")
    revision, claim = agent.claim_of(order)
    vcpus = [
        SeenThread(
            tid=4700 + vcpu,
            name=f"CPU {vcpu}/KVM",
            thread_class=ThreadClass.VCPU,
            vcpu=vcpu,
            allowed=CpuSet({pcpu}),
            recorded=CpuSet({pcpu}),
        )
        for vcpu, pcpu in fit.pins
    ]
    allowed = CpuSet.parse(astray) if astray else fit.emulator
    worker = SeenThread(tid=4711, name="worker", thread_class=ThreadClass.EMULATOR, allowed=allowed, recorded=fit.emulator)
    report = ThreadReport(witness="procfs", threads=(*vcpus, worker))
    told = agent.says(guest, Observed.RUNNING, boot=order["boot"], revision=revision, threads=report, claim=claim)
    assert told.status_code == 204, told.text


def answer(agent: Agent, history: HostHistory) -> None:
    """The agent answers the question that it is asked."""
    question = agent.orders()["question"]
    assert question is not None, "nobody asked"
    told = agent.ask("PUT", "/host/history", plain(HistoryAnswer(number=question["number"], history=history)))
    assert told.status_code == 204, told.text
