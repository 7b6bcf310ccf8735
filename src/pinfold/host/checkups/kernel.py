"""Judge what else the kernel does on dedicated pCPUs: interrupts, frequencies, huge page recovery, and realtime throttling. Pure."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.kernel_line import isolation, option
from pinfold.core.plural import count, pcpus
from pinfold.drivers.checkup import Check, Checkup, Health, Needs
from pinfold.host.checkups.facts import KernelFacts, PcpuFacts
from pinfold.host.checkups.reading import cpus, fact, loop, unseen, value
from pinfold.linux.interrupts import Interrupt

_EXAMPLES: Final = 5
_LETTERS: Final = 40
_MANAGED: Final = (
    "the kernel keeps the interrupts of many queues itself (NVMe, virtio-blk, network cards), and only newer kernels show which: a write "
    "fails there, and isolcpus=managed_irq,LIST at boot keeps those away whose queue has another pCPU; the others come only after I/O "
    "from the pCPU itself"
)
_KEPT_AWAY: Final = (
    "isolcpus has managed_irq: of the interrupts that the kernel keeps, those come that have no other pCPU, and only after I/O from the "
    "pCPU itself"
)
_BALANCED: Final = "where irqbalance runs, name the pCPUs in IRQBALANCE_BANNED_CPULIST too (/etc/default/irqbalance)"
_FAIR_SERVER: Final = (6, 12)


def interrupts(dedicated: CpuSet, online: CpuSet, facts: PcpuFacts, needs: Needs) -> list[Checkup]:
    """Whether interrupts are delivered to dedicated pCPUs, or may be; no answer without a dedicated pool."""
    check, all_of_them = Check.INTERRUPTS, facts.interrupts
    if not dedicated:
        return []
    if all_of_them.problem:
        words = f"cannot be seen: {all_of_them.folder} ({all_of_them.problem}); where interrupts are delivered is not known"
        return [check.found(needs.realtime_lack, words)]
    total = count(len(all_of_them.found), "interrupt")
    could = [one for one in all_of_them.found if (value(one.allowed, cpus) or CpuSet()) & dedicated]
    # An interrupt whose affinity was changed moves only when it comes next: until then its effective pCPU may be one of before.
    there = [one for one in could if (value(one.effective, cpus) or CpuSet()) & dedicated]
    there.sort(key=lambda one: (-(one.count_on(dedicated) or 0), one.number))
    elsewhere, movable = online - dedicated, [one for one in could if not one.allowed.fixed]
    repair = _move(movable, elsewhere) if movable and elsewhere else ""
    kept_away = "managed_irq" in isolation(option(facts.command_line.text, "isolcpus") or "")[0]
    advice = f"{_KEPT_AWAY if kept_away else _MANAGED}; {_BALANCED}"
    if there:
        words = f"{len(there)} of {total} {'is' if len(there) == 1 else 'are'} delivered to dedicated pCPUs: {_some(there, dedicated)}"
        seen = [fact(one.effective) for one in there[:_EXAMPLES]]
        no_fault = kept_away and all(one.allowed.fixed for one in there)
        return [check.found(Health.UNUSED if no_fault else needs.realtime_lack, words, seen=seen, advice=advice, repair=repair)]
    if could:
        words = f"none of {total} is delivered to a dedicated pCPU now; {len(could)} may be moved there: {_some(could)}"
        seen = [fact(one.allowed) for one in could[:_EXAMPLES]]
        return [check.found(Health.UNUSED, words, seen=seen, advice=advice, repair=repair)]
    return [check.found(Health.GOOD, f"none of {total} may be delivered to a dedicated pCPU")]


def _some(found: list[Interrupt], counted: CpuSet = CpuSet()) -> str:
    """The first of the interrupts, with how often they came to the `counted` pCPUs."""
    more = f" and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
    return ", ".join(_named(one, counted) for one in found[:_EXAMPLES]) + more


def _named(one: Interrupt, counted: CpuSet) -> str:
    kept = ", which the kernel keeps there" if one.allowed.fixed else ""
    number = one.count_on(counted) if counted else None
    often = "" if number is None else f"; {count(number, 'time')} since boot"
    return f"{one.number} ({', '.join(name[:_LETTERS] for name in one.names[:2])}{kept}{often})"


def _move(found: list[Interrupt], elsewhere: CpuSet) -> str:
    return f"for irq in {loop(one.number for one in found)}; do echo {elsewhere} > /proc/irq/$irq/smp_affinity_list; done"


def governors(dedicated: CpuSet, facts: PcpuFacts, needs: Needs) -> list[Checkup]:
    """Whether dedicated pCPUs keep their frequency up; no answer without a dedicated pool."""
    check = Check.GOVERNORS
    files = [(pcpu, file) for pcpu, file in facts.governors if pcpu in dedicated]
    if not files:
        return []
    seen = {pcpu: file.text for pcpu, file in files if not file.problem}
    if not seen:
        return [unseen(check, Health.UNUSED, (files[0][1],), "this kernel does not change frequencies, as in most virtual machines")]
    slow = CpuSet(pcpu for pcpu, governor in seen.items() if governor != "performance")
    if not slow:
        return [check.found(Health.GOOD, f"performance on {pcpus(str(CpuSet(seen)))}")]
    words = f"{', '.join(sorted({seen[pcpu][:_LETTERS] for pcpu in slow}))} on dedicated {pcpus(str(slow))}: a vCPU wakes up slowly"
    repair = f"for cpu in {loop(slow)}; do echo performance > /sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor; done"
    facts_ = [fact(file) for pcpu, file in files if pcpu in CpuSet(islice(slow, _EXAMPLES))]
    advice = "the setting is lost at boot; the service of tuned or cpupower sets it each time"
    return [check.found(needs.realtime_lack, words, seen=facts_, advice=advice, repair=repair)]


def page_recovery(facts: KernelFacts, needs: Needs) -> Checkup:
    """Whether KVM's threads that put split huge pages together again run beside vCPUs."""
    check, files = Check.PAGE_RECOVERY, (facts.split_pages, facts.recovery_ratio)
    if facts.split_pages.problem:
        return unseen(check, Health.UNUSED, files[:1], "KVM is not loaded")
    if facts.split_pages.text not in ("Y", "N", "never"):
        return unseen(check, Health.UNUSED, files[:1], "Y, N or never was expected")
    if facts.split_pages.text != "Y":
        return check.found(Health.GOOD, f"KVM does not split huge pages of guests ({facts.split_pages.text})", seen=map(fact, files))
    if facts.recovery_ratio.text == "0":
        return check.found(Health.GOOD, "KVM splits huge pages of guests, and no thread puts them together again", seen=map(fact, files))
    words = (
        "KVM splits huge pages of guests against CVE-2018-12207, and each guest has a thread kvm-nx-lpage-recovery that puts them together "
        "again: it starts with the pCPUs and the scheduler of the first vCPU"
    )
    advice = (
        "split pages then stay split, and guests are as safe as before; pinfold moves the threads of its own guests to the overhead pool"
    )
    fixed = facts.recovery_ratio.fixed or facts.recovery_ratio.problem
    repair = "" if fixed else "echo 0 > /sys/module/kvm/parameters/nx_huge_pages_recovery_ratio"
    return check.found(needs.realtime_lack, words, seen=map(fact, files), advice=advice, repair=repair)


def throttling(facts: KernelFacts, needs: Needs) -> Checkup:
    """Whether the kernel stops realtime vCPUs that never sleep."""
    check, files = Check.THROTTLING, (facts.throttling_runtime, facts.throttling_period)
    runtime, period = value(files[0], int), value(files[1], int)
    if runtime is None or period is None:
        lacking = files[:1] if runtime is None else files[1:]
        return unseen(check, needs.realtime_lack, lacking, "whether realtime vCPUs are stopped is not known")
    if runtime < 0:
        return check.found(Health.GOOD, "off: a vCPU that never sleeps keeps its pCPU", seen=map(fact, files))
    words = f"a realtime vCPU that never sleeps is stopped for {(period - runtime) / 1000:g} of every {period / 1000:g} ms"
    advice = ""
    if _release(facts.release) >= _FAIR_SERVER:
        advice = (
            "Linux 6.12 and later throttle only with CONFIG_RT_GROUP_SCHED; without it, ordinary threads that wait on the pCPU get this "
            "time (/sys/kernel/debug/sched/fair_server/cpuN/runtime), and the setting changes nothing: keep such threads away"
        )
    return check.found(needs.realtime_lack, words, seen=map(fact, files), advice=advice, repair="sysctl -w kernel.sched_rt_runtime_us=-1")


def _release(text: str) -> tuple[int, int]:
    """
    >>> _release("6.1.0-18-amd64"), _release("odd")
    ((6, 1), (0, 0))
    """
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
