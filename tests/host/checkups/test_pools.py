"""Pools that are or could become empty, split cores, and pools against isolcpus, nohz_full and rcu_nocbs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.build.guests import surveyed
from tests.build.hosts import cpus
from tests.host.checkups.trees import machine

from pinfold.core.hosttext import host
from pinfold.core.pools import PoolConfig, build_pools, configured_pools
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Check, Checkup, Health, Needs
from pinfold.host.checkups.facts import PcpuFacts
from pinfold.host.checkups.pools import judged_warnings, pool_checkups
from pinfold.host.survey import Survey

REALTIME = Needs(realtime=True)
TOPOLOGY = host("core:4 pu:2")
"""pCPUs 0-7, siblings side by side."""


def seen(
    shared: str, dedicated: str, overhead: str = "", *, topology: Topology = TOPOLOGY, managed: bool = False, isolated: str = ""
) -> Survey:
    config = PoolConfig(
        shared=cpus(shared) or None, dedicated=cpus(dedicated) or None, overhead=cpus(overhead) or None, power_managed=managed
    )
    pools, warnings = build_pools(config, topology, isolated=cpus(isolated))
    found = surveyed(pools=pools, topology=topology)
    return type(found)(state=found.state, guests=(), warnings=warnings, power_managed=managed, configured=configured_pools(config))


def answers(found: Survey, facts: PcpuFacts | None, check: Check, needs: Needs = Needs()) -> list[Checkup]:  # noqa: B008
    return [one for one in pool_checkups(found, facts, needs) if one.check == check.value]


def answer(found: Survey, facts: PcpuFacts | None, check: Check, needs: Needs = Needs()) -> Checkup:  # noqa: B008
    (one,) = answers(found, facts, check, needs)
    return one


@pytest.mark.parametrize("option", ["shared", "dedicated", "overhead"])
def test_a_pool_without_an_online_pcpu_is_empty_and_its_pcpus_are_switched_on(tmp_path: Path, option: str) -> None:
    words = f"cpu_{option}_set names pCPUs 0-1, which are offline; the pool is empty until they are back"
    topology = host("core:4 pu:2 offline:0-1")
    sets = {"shared": "2-3", "dedicated": "4-7", "overhead": ""} | {option: "0-1"}
    found = seen(sets["shared"], sets["dedicated"], sets["overhead"], topology=topology)
    empty = answer(found, machine(tmp_path, topology, fixed=""), Check.EMPTY_POOLS)
    assert (empty.health, empty.words, empty.repair) == (Health.POOR, words, "chcpu -e 0-1")
    assert [(fact.source, fact.value) for fact in empty.seen] == [("/sys/devices/system/cpu/online", "2-7")]
    assert words in judged_warnings(found, None), "it is not said a second time"


def test_a_pool_that_is_partly_offline_is_not_empty(tmp_path: Path) -> None:
    topology = host("core:4 pu:2 offline:2")
    found = seen("0-1", "2-7", topology=topology)
    assert answer(found, machine(tmp_path, topology), Check.EMPTY_POOLS).health is Health.GOOD
    assert [sentence for sentence in found.warnings if sentence not in judged_warnings(found, None)] == [
        "cpu_dedicated_set names pCPU 2, which is offline; the rest of the pool is used"
    ]


@pytest.mark.parametrize(
    ("shared", "overhead", "words", "advice"),
    [
        pytest.param("0-1", "", "no pool is empty, and each has a pCPU that cannot be switched off", "", id="pCPU 0 stays on"),
        pytest.param(
            "2-3", "", "every pCPU of cpu_shared_set (2-3) can be switched off", "give the pool one that always stays on: pCPU 0", id="all"
        ),
        pytest.param(
            "0",
            "1,3",
            "cpu_overhead_set (1,3) has second siblings alone, and all of those go off when SMT is switched off "
            "({}/sys/devices/system/cpu/smt/control)",
            "give the pool one that always stays on: pCPU 0",
            id="second siblings",
        ),
    ],
)
def test_a_pool_that_could_become_empty_is_noted(tmp_path: Path, shared: str, overhead: str, words: str, advice: str) -> None:
    found = answer(seen(shared, "4-7", overhead), machine(tmp_path, TOPOLOGY), Check.EMPTY_POOLS)
    assert (found.health, found.words) == (Health.UNUSED if advice else Health.GOOD, words.format(tmp_path))
    assert found.advice == advice


def test_dedicated_pcpus_that_nova_switches_off_are_noted(tmp_path: Path) -> None:
    topology = host("core:4 pu:2 offline:4-7")
    found = answer(seen("0-1", "4-7", topology=topology, managed=True), machine(tmp_path, topology), Check.EMPTY_POOLS)
    assert found.health is Health.UNUSED
    assert found.words.startswith(
        "Nova switches the pCPUs of cpu_dedicated_set off while no guest uses them (cpu_power_management); all are off"
    )


@pytest.mark.parametrize(
    ("shared", "dedicated", "realtime", "health", "words"),
    [
        pytest.param("0-1", "2-7", False, Health.GOOD, "all siblings of pCPUs 2-7 are in cpu_dedicated_set too", id="whole cores"),
        pytest.param(
            "0,2",
            "1,3-7",
            False,
            Health.POOR,
            "cpu_dedicated_set has pCPUs 1,3, whose SMT siblings are in another pool and disturb the guests pinned there",
            id="another pool",
        ),
        pytest.param(
            "0-1",
            "3-7",
            False,
            Health.UNUSED,
            "cpu_dedicated_set has pCPU 3, whose SMT siblings are in no pool and run the host's own processes",
            id="the host's",
        ),
        pytest.param("0-1", "3-7", True, Health.POOR, "in no pool", id="the host's, with realtime guests"),
    ],
)
def test_siblings_of_one_core_belong_in_one_pool(shared: str, dedicated: str, realtime: bool, health: Health, words: str) -> None:
    found = answer(seen(shared, dedicated), None, Check.SIBLINGS, Needs(realtime=realtime))
    assert found.health is health
    assert words in found.words


def test_the_advice_about_split_cores_names_a_pool_of_whole_ones() -> None:
    found = answer(seen("0,2", "1,3-7"), None, Check.SIBLINGS)
    assert found.advice == "keep all siblings of a core in one pool, for example with cpu_dedicated_set = 4-7"
    again = answer(seen("0-3", "4-7"), None, Check.SIBLINGS)
    assert again.health is Health.GOOD


def test_without_threads_there_is_nothing_to_split() -> None:
    assert answer(seen("0", "1-3", topology=host("core:4")), None, Check.SIBLINGS).health is Health.GOOD


@pytest.mark.parametrize(
    ("isolated", "needs", "health", "words"),
    [
        pytest.param("", Needs(), Health.UNUSED, "may run any process of the host on dedicated pCPUs 2-7", id="none"),
        pytest.param("", REALTIME, Health.POOR, "may run any process of the host on dedicated pCPUs 2-7", id="none, realtime"),
        pytest.param("2-5", Needs(emulators_apart=True), Health.UNUSED, "on dedicated pCPUs 6-7 (not in isolcpus)", id="some"),
        pytest.param("2-7", Needs(), Health.POOR, "emulator threads that float over a guest's own pCPUs all stay on one", id="floating"),
        pytest.param("2-7", Needs(emulators_apart=True), Health.GOOD, "only where they are pinned (2-7)", id="emulators apart"),
        pytest.param("1", Needs(), Health.POOR, "cpu_shared_set has pCPU 1, which the kernel isolates", id="the shared pool"),
    ],
)
def test_the_dedicated_pool_is_isolated_and_no_other(tmp_path: Path, isolated: str, needs: Needs, health: Health, words: str) -> None:
    survey = seen("0-1", "2-7", isolated=isolated)
    facts = machine(tmp_path, TOPOLOGY, isolated=isolated)
    found = answer(survey, facts, Check.ISOLATION, needs)
    assert found.health is health
    assert words in found.words
    assert set(survey.warnings) <= judged_warnings(survey, facts)


@pytest.mark.parametrize(
    ("tickless", "needs", "health", "words"),
    [
        pytest.param("2-7", REALTIME, Health.GOOD, "the tick stops on all dedicated pCPUs", id="all"),
        pytest.param("2-5", REALTIME, Health.POOR, "the tick interrupts the vCPU on dedicated pCPUs 6-7 (not in nohz_full)", id="some"),
        pytest.param("(null)", REALTIME, Health.POOR, "on dedicated pCPUs 2-7 (not in nohz_full)", id="an old kernel's none"),
        pytest.param("", Needs(), Health.UNUSED, "on dedicated pCPUs 2-7 (not in nohz_full)", id="no realtime"),
        pytest.param("1-7", REALTIME, Health.POOR, "nohz_full names pCPU 1 of the shared or overhead pool", id="the shared pool"),
        pytest.param(None, REALTIME, Health.POOR, "nohz_full (No such file or directory)", id="a kernel without"),
        pytest.param("7-2", REALTIME, Health.POOR, "nohz_full (7-2)", id="nonsense"),
    ],
)
def test_the_tick_is_stopped_on_dedicated_pcpus(tmp_path: Path, tickless: str | None, needs: Needs, health: Health, words: str) -> None:
    found = answer(seen("0-1", "2-7"), machine(tmp_path, TOPOLOGY, tickless=tickless), Check.TICK, needs)
    assert found.health is health
    assert words in found.words
    assert found.seen and (found.health is Health.GOOD or "nohz_full=" in found.advice)


@pytest.mark.parametrize(
    ("line", "tickless", "health", "words"),
    [
        pytest.param("rcu_nocbs=2-7", "", Health.GOOD, "run elsewhere (2-7)", id="all"),
        pytest.param("rcu_nocbs=2-N", "", Health.GOOD, "run elsewhere (2-7)", id="up to the last"),
        pytest.param("rcu_nocbs=all", "", Health.GOOD, "run elsewhere (0-7)", id="the word all"),
        pytest.param("nohz_full=2-7", "2-7", Health.GOOD, "run elsewhere (2-7)", id="those of nohz_full"),
        pytest.param("rcu_nocbs", "", Health.POOR, "on dedicated pCPUs 2-7", id="an option without a list"),
        pytest.param("quiet -- rcu_nocbs=2-7", "", Health.POOR, "on dedicated pCPUs 2-7", id="an option of the init process"),
        pytest.param("rcu_nocbs=2-x", "", Health.POOR, "cannot be seen", id="nonsense"),
    ],
)
def test_callbacks_of_dedicated_pcpus_are_offloaded(tmp_path: Path, line: str, tickless: str, health: Health, words: str) -> None:
    facts = machine(tmp_path, TOPOLOGY, command_line=line, tickless=tickless)
    found = answer(seen("0-1", "2-7"), facts, Check.CALLBACKS, REALTIME)
    assert found.health is health
    assert words in found.words


def test_the_facts_about_callbacks_are_the_options_alone(tmp_path: Path) -> None:
    facts = machine(tmp_path, TOPOLOGY, command_line="password=secret rcu_nocbs=2-3")
    found = answer(seen("0-1", "2-7"), facts, Check.CALLBACKS)
    assert (found.seen[0].value, found.advice.split()[0]) == ("rcu_nocbs=2-3, no nohz_full", "rcu_nocbs=2-7")


def test_without_a_dedicated_pool_the_kernel_may_do_as_it_likes(tmp_path: Path) -> None:
    checks = [one.check for one in pool_checkups(seen("0-1", ""), machine(tmp_path, TOPOLOGY), REALTIME)]
    assert checks == [Check.EMPTY_POOLS.value]


def test_pools_of_another_machine_are_judged_by_its_topology_alone() -> None:
    assert [one.check for one in pool_checkups(seen("0-1", "2-7"), None, REALTIME)] == [Check.EMPTY_POOLS.value, Check.SIBLINGS.value]


def test_a_machine_without_files_is_answered(tmp_path: Path) -> None:
    from pinfold.host.checkups.facts import pcpu_facts

    facts = pcpu_facts(TOPOLOGY.online, sys=tmp_path, proc=tmp_path)
    found = pool_checkups(seen("0-1", "2-7"), facts, REALTIME)
    unseen = [one.words.partition(";")[0] for one in found if one.words.startswith("cannot be seen")]
    paths = ("devices/system/cpu/isolated", "devices/system/cpu/nohz_full", "cmdline")
    assert unseen == [f"cannot be seen: {tmp_path}/{path} (No such file or directory)" for path in paths]
