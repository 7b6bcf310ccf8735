"""Judge the pools of a host: is one empty, do siblings of one core lie in two of them, and do they match the kernel's isolation. Pure.

Source: the kernel's `admin-guide/kernel-parameters.rst`, `timers/no_hz.rst` and `admin-guide/cpu-isolation.rst`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from msgspec import structs

from pinfold.core import kernel_line
from pinfold.core.cpuset import CpuSet
from pinfold.core.plural import pcpus
from pinfold.core.pools import DEDICATED, OVERHEAD, SHARED, isolation_warnings, sibling_warnings, without_siblings_elsewhere
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Check, Checkup, Health, Needs, Seen
from pinfold.host.checkups.facts import PcpuFacts
from pinfold.host.checkups.reading import cpus, fact, unseen, value
from pinfold.host.survey import Survey
from pinfold.linux.kernel_file import KernelFile

_EXAMPLES: Final = 3
_BOOT: Final = "on the kernel command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub), and boot"


def pool_checkups(seen: Survey, facts: PcpuFacts | None, needs: Needs) -> list[Checkup]:
    """All checks of the pools. `facts` are this machine's, None for a host whose pCPUs are not this machine's."""
    found = [*_empty(seen, facts), *_siblings(seen, needs, own=facts is not None)]
    if facts is not None:
        found += [*_isolated(seen, facts, needs), *_tickless(seen, facts, needs), *_callbacks(seen, facts, needs)]
    return found


def judged_warnings(seen: Survey, facts: PcpuFacts | None) -> frozenset[str]:
    """The warnings of the survey that `pool_checkups` judges with more facts."""
    isolated = None if facts is None else value(facts.isolated, cpus)
    pools = seen.state.pools
    return frozenset(
        (
            *(sentence for _, _, sentence in isolation_warnings(pools, isolated or CpuSet(), _own_overhead(seen))),
            *sibling_warnings(pools, seen.state.topology),
            *(one.words for one in _empty(seen, facts) if one.health is Health.POOR),
        )
    )


def _named(seen: Survey) -> Iterator[tuple[str, CpuSet, CpuSet]]:
    """`(option, online pCPUs, configured pCPUs)` of each pool that an option gives."""
    now, configured = seen.state.pools, seen.configured
    if configured is None:
        return
    if configured.shared:
        yield SHARED, now.shared, configured.shared
    if configured.dedicated:
        yield DEDICATED, now.dedicated & seen.state.topology.online, configured.dedicated
    if _own_overhead(seen):
        yield OVERHEAD, now.overhead or CpuSet(), configured.overhead or CpuSet()


def _own_overhead(seen: Survey) -> bool:
    configured = seen.configured
    return configured is not None and configured.overhead is not None and configured.overhead != configured.shared


def _empty(seen: Survey, facts: PcpuFacts | None) -> list[Checkup]:
    check, found = Check.EMPTY_POOLS, []
    managed = seen.power_managed
    for option, now, configured in _named(seen):
        if now or (managed and option == DEDICATED):
            continue
        words = next(
            (sentence for sentence in seen.warnings if sentence.startswith(f"{option} names ")),
            f"{option} names {pcpus(str(configured))} alone, and none of them is online",
        )
        online = Seen(source="/sys/devices/system/cpu/online", value=str(seen.state.topology.online))
        own = facts is not None
        repair = f"chcpu -e {configured}" if own else ""
        found.append(check.found(Health.POOR, words, seen=(online,) if own else (), repair=repair))
    if found:
        return found
    remarks = [_nova_switches(seen)] if managed and seen.state.pools.dedicated else []
    if facts is not None:
        remarks += [_could_be_empty(option, now, seen, facts) for option, now, _ in _named(seen) if option != DEDICATED]
    words = "; ".join(remark for remark in remarks if remark)
    if not words:
        return [check.found(Health.GOOD, "no pool is empty")] if facts is None else [check.found(Health.GOOD, _NONE_EMPTY)]
    switches = () if facts is None else tuple(fact(file) for _, file in islice(facts.switches, _EXAMPLES))
    return [check.found(Health.UNUSED, words, seen=switches, advice=_keep_one(seen, facts))]


_NONE_EMPTY: Final = "no pool is empty, and each has a pCPU that cannot be switched off"


def _nova_switches(seen: Survey) -> str:
    off, all_of_them = seen.switched_off, seen.state.pools.dedicated
    state = "all are off now" if off == all_of_them else f"{len(off)} of {len(all_of_them)} are off now"
    return f"Nova switches the pCPUs of {DEDICATED} off while no guest uses them (cpu_power_management); {state}"


def _could_be_empty(option: str, now: CpuSet, seen: Survey, facts: PcpuFacts) -> str:
    """How that pool can become empty; '' if it cannot."""
    firsts = CpuSet(core.first for cell in seen.state.topology.cells for core in cell.cores)
    if facts.smt_control.text == "on" and now.isdisjoint(firsts):
        return f"{option} ({now}) has second siblings alone, and all of those go off when SMT is switched off ({facts.smt_control.path})"
    return f"every pCPU of {option} ({now}) can be switched off" if now <= _switchable(facts) else ""


def _switchable(facts: PcpuFacts) -> CpuSet:
    return CpuSet(pcpu for pcpu, file in facts.switches if not file.problem)


def _keep_one(seen: Survey, facts: PcpuFacts | None) -> str:
    fixed = CpuSet() if facts is None else seen.state.topology.online - _switchable(facts) - seen.state.pools.dedicated
    return f"give the pool one that always stays on: {pcpus(str(fixed))}" if fixed else ""


def _siblings(seen: Survey, needs: Needs, *, own: bool) -> list[Checkup]:
    check, pools, topology = Check.SIBLINGS, seen.state.pools, seen.state.topology
    if not pools.exclusive:
        return []
    if topology.threads_per_core == 1:
        return [check.found(Health.GOOD, "every core has one pCPU online")]
    whole = without_siblings_elsewhere(pools, topology)
    mixed, host = pools.exclusive & topology.online - whole, _beside_the_host(seen)
    advice = "keep all siblings of a core in one pool"
    if warnings := sibling_warnings(pools, topology):
        more = f", for example with {DEDICATED} = {whole}" if whole else ""
        return [check.found(Health.POOR, sentence, seen=_cores(mixed, topology, own=own), advice=advice + more) for sentence in warnings]
    if host:
        words = f"{DEDICATED} has {pcpus(str(host))}, whose SMT siblings are in no pool and run the host's own processes"
        return [check.found(needs.realtime_lack, words, seen=_cores(host, topology, own=own), advice=advice)]
    return [check.found(Health.GOOD, f"all siblings of {pcpus(str(pools.exclusive))} are in {DEDICATED} too")]


def _beside_the_host(seen: Survey) -> CpuSet:
    """The dedicated pCPUs with an online sibling in no pool."""
    pools, topology = seen.state.pools, seen.state.topology
    host = topology.online - pools.dedicated - pools.shared - (pools.overhead or CpuSet())
    return CpuSet(cpu for cpu in pools.exclusive & topology.online if not topology.siblings[cpu].isdisjoint(host))


def _cores(some: CpuSet, topology: Topology, *, own: bool) -> list[Seen]:
    source = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list" if own else "the hypervisor's topology, core of pCPU {}"
    return [Seen(source=source.format(cpu), value=str(topology.siblings[cpu])) for cpu in islice(some, _EXAMPLES)]


def _isolated(seen: Survey, facts: PcpuFacts, needs: Needs) -> list[Checkup]:
    check, pools = Check.ISOLATION, seen.state.pools
    isolated = value(facts.isolated, cpus)
    if isolated is None:
        return [unseen(check, needs.realtime_lack, (facts.isolated,), "which pCPUs isolcpus names is not known")]
    found = []
    for option, overlap, sentence in isolation_warnings(pools, isolated, _own_overhead(seen)):
        advice = f"take {pcpus(str(overlap))} out of isolcpus= {_BOOT}, or take it out of {option}"
        if option == DEDICATED:
            if needs.emulators_apart:
                continue
            advice = f"let flavors keep emulator threads away (hw:emulator_threads_policy=share or isolate), or leave isolcpus= out {_BOOT}"
        found.append(check.found(Health.POOR, sentence, seen=(fact(facts.isolated),), advice=advice))
    open_ = pools.exclusive - isolated
    if found or not pools.exclusive:
        return found
    if open_:
        words = f"the kernel may run any process of the host on dedicated {pcpus(str(open_))} (not in isolcpus)"
        advice = f"isolcpus=managed_irq,domain,{pools.exclusive} {_BOOT}; a flavor then needs hw:emulator_threads_policy"
        return [check.found(needs.realtime_lack, words, seen=(fact(facts.isolated),), advice=advice)]
    return [check.found(Health.GOOD, f"the kernel runs processes on dedicated pCPUs only where they are pinned ({isolated})")]


def _tickless(seen: Survey, facts: PcpuFacts, needs: Needs) -> list[Checkup]:
    check, pools, files = Check.TICK, seen.state.pools, (facts.tickless,)
    found = value(facts.tickless, cpus)
    if found is None:
        words = "a kernel without CONFIG_NO_HZ_FULL ticks on every busy pCPU"
        advice = f"boot a kernel that has CONFIG_NO_HZ_FULL, with nohz_full={pools.exclusive} {_BOOT}"
        return [unseen(check, needs.realtime_lack, files, words, advice)] if pools.exclusive else []
    floating = (pools.shared | (pools.overhead or CpuSet())) & found
    if floating:
        words = f"nohz_full names {pcpus(str(floating))} of the shared or overhead pool, where each entry to the kernel then costs more"
        advice = f"take {pcpus(str(floating))} out of nohz_full= {_BOOT}"
        return [check.found(Health.POOR, words, seen=map(fact, files), advice=advice)]
    quiet = f"the tick stops on all dedicated pCPUs while one thread runs there ({found})"
    return _covered(check, pools.exclusive, found, "the tick interrupts the vCPU", quiet, files, "nohz_full", needs)


def _callbacks(seen: Survey, facts: PcpuFacts, needs: Needs) -> list[Checkup]:
    check, dedicated, files = Check.CALLBACKS, seen.state.pools.exclusive, (facts.command_line, facts.tickless)
    last = max((*seen.state.topology.online, *seen.state.topology.offline), default=0)
    named = value(facts.command_line, partial(_offloaded, last=last))
    if named is None:
        return [unseen(check, needs.realtime_lack, files, "which pCPUs rcu_nocbs names is not known")] if dedicated else []
    found = named | (value(facts.tickless, cpus) or CpuSet())
    quiet = f"RCU callbacks of all dedicated pCPUs run elsewhere ({found})"
    line = structs.replace(facts.command_line, text=_given(facts.command_line.text, "rcu_nocbs", "nohz_full"))
    return _covered(check, dedicated, found, "RCU callbacks interrupt the vCPU", quiet, (line, facts.tickless), "rcu_nocbs", needs)


def _given(line: str, *names: str) -> str:
    """The options of a kernel command line with these names.

    >>> _given("quiet nohz_full=1-3", "rcu_nocbs", "nohz_full")
    'no rcu_nocbs, nohz_full=1-3'
    """
    values = ((name, kernel_line.option(line, name)) for name in names)
    return ", ".join(f"no {name}" if text is None else f"{name}={text}" for name, text in values)


def _offloaded(line: str, *, last: int) -> CpuSet:
    """The pCPUs that `rcu_nocbs` or `nohz_full` of a kernel command line names. The kernel offloads those of both."""
    named = [kernel_line.option(line, name) or "" for name in ("rcu_nocbs", "nohz_full")]
    first, second = (kernel_line.cpu_list(text, last) for text in named)
    return first | second


def _covered(
    check: Check, dedicated: CpuSet, found: CpuSet, lack: str, quiet: str, files: Sequence[KernelFile], option: str, needs: Needs
) -> list[Checkup]:
    """Whether all dedicated pCPUs are among those that the kernel leaves alone; no answer without a dedicated pool."""
    if not dedicated:
        return []
    facts = tuple(map(fact, files))
    if dedicated <= found:
        return [check.found(Health.GOOD, quiet, seen=facts)]
    words = f"{lack} on dedicated {pcpus(str(dedicated - found))} (not in {option})"
    return [check.found(needs.realtime_lack, words, seen=facts, advice=f"{option}={dedicated} {_BOOT}")]
