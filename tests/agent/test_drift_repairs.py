"""When the agent repairs the service's guests that drifted, and when it gives up. `core.repairs` has the rule."""

from __future__ import annotations

from msgspec.structs import replace
from tests.agent.script import FACTS, RULES, G, Script, guest, order

from pinfold.agent.actions import Action, Audit, Perform, Repair, SendFindings, SendReport
from pinfold.agent.events import Audited, FindingsSent, HostChanged, OptionsRead, Outcome
from pinfold.agent.reconcile import LastBoot, Memory
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import FindingCode
from pinfold.core.pools import PoolConfig
from pinfold.core.repairs import MOST_UNDONE, PAUSES, Drifted, read_counts
from pinfold.core.settings import RepairScope
from pinfold.drivers.port import Event, EventKind, GuestState
from pinfold.host.loop_events import Repaired
from pinfold.store.records import REPAIRS, Desired

VM = Drifted(guest_id=G, name="vm", pid=7, classes=("emulator",), undoer="nobody")


def agent(scope: RepairScope = RepairScope.OURS) -> Script:
    """An agent that has booted one guest."""
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot=FACTS.host_boot),)))
    script.state = replace(script.state, rules=replace(RULES, repair=scope))
    return script


def begin(script: Script, desired: Desired = Desired.RUNNING) -> None:
    """Let the time of a sweep pass, and play turns until an audit is under way."""
    script.at += RULES.sweep_seconds
    before = sum(isinstance(action, Audit) for action in script.begun)
    for _ in range(3):
        if sum(isinstance(action, Audit) for action in script.begun) == before:
            script.plays((order(desired=desired),), guest(state=GuestState.RUNNING))
    assert sum(isinstance(action, Audit) for action in script.begun) == before + 1


def ends(script: Script, *drifted: Drifted) -> list[Action]:
    """End the audit with these guests drifted; let the service acknowledge the report, and return what the agent begins."""
    actions = script.tell(Audited(findings=(), drifted=drifted, running=frozenset({G}), when=script.when()))
    for action in actions:
        if isinstance(action, SendFindings):
            script.tell(FindingsSent(report=action.report, when=script.when()))
    return actions


def audit(script: Script, *drifted: Drifted) -> list[Action]:
    """Play one whole audit."""
    begin(script)
    return ends(script, *drifted)


def repairs(actions: list[Action]) -> list[Repair]:
    return [action for action in actions if isinstance(action, Repair)]


def repaired(script: Script, failure: str = "") -> list[Action]:
    return script.tell(Repaired(guest=VM, failure=failure, when=script.when()))


def test_an_agent_repairs_nothing_unless_it_is_told_to() -> None:
    script = agent(RepairScope.OFF)
    assert not repairs([action for _ in range(3) for action in audit(script, VM)])


def test_a_guest_that_has_drifted_at_two_audits_is_repaired() -> None:
    script = agent()
    assert repairs(audit(script, VM)) == []
    assert repairs(audit(script, VM)) == [Repair(guest=VM)]
    repaired(script)
    assert script.logged[-1] == "guest vm was repaired, its threads are in their places; what would undo it: nobody"
    assert repairs(audit(script)) == []


def test_one_repair_of_a_guest_is_under_way_at_a_time() -> None:
    script = agent()
    audit(script, VM)
    assert repairs(audit(script, VM))
    assert not repairs(audit(script, VM))


def test_an_audit_that_may_have_seen_the_guest_before_its_repair_says_nothing_about_it() -> None:
    script = agent()
    audit(script, VM)
    audit(script, VM)
    begin(script)
    repaired(script)
    ends(script, VM)
    assert "guest vm: somebody undid its repair" not in script.logged
    audit(script, VM)
    assert "guest vm: somebody undid its repair" in script.logged


def test_a_repair_during_a_look_keeps_that_look_from_judging_the_guest() -> None:
    script = agent()
    audit(script, VM)
    audit(script, VM)
    script.at += RULES.sweep_seconds
    script.tell(HostChanged(when=script.when(), event=Event(kind=EventKind.STARTED, guest="other")))
    turn = script.state.turn
    assert turn is not None
    repaired(script)
    assert script.state.turn is not None
    assert G in script.state.turn.moving


def test_a_guest_with_a_task_is_not_repaired() -> None:
    script = agent()
    audit(script, VM)
    begin(script, Desired.STOPPED)
    assert isinstance(script.performing(), Perform)
    assert not repairs(ends(script, VM))
    script.ends(outcome=Outcome())


def test_a_repair_that_fails_is_said_and_tried_again() -> None:
    script = agent()
    audit(script, VM)
    (first,) = repairs(audit(script, VM))
    script.fails(first, "libvirt is away", away=False)
    assert script.logged[-1] == "guest vm cannot be repaired: libvirt is away"
    assert repairs(audit(script, VM)) == [first]


def test_after_three_undone_repairs_the_guest_is_left_alone_and_a_finding_says_so() -> None:
    script = agent()
    done = 0
    for _ in range(40):
        script.at += PAUSES[-1]
        if repairs(audit(script, VM)):
            repaired(script)
            done += 1
    assert done == MOST_UNDONE
    script.at += 300.0
    (sent,) = [action for action in audit(script, VM) if isinstance(action, SendFindings)]
    (finding,) = sent.report.findings
    assert (finding.code, finding.guest_id) == (FindingCode.REPAIR_UNDONE, G)
    assert finding.advice.endswith("`pinfold agent story` shows when it happened, and a restart of the agent begins anew")


def test_the_report_of_the_host_says_how_many_repairs_there_were() -> None:
    script = agent()
    audit(script, VM)
    (first,) = repairs(audit(script, VM))
    script.fails(first, "libvirt is away", away=False)
    script.at += PAUSES[-1]
    assert repairs(audit(script, VM)) == [first]
    repaired(script)
    audit(script, VM)  # somebody undid it
    audit(script)
    facts = [dict(action.report.facts) for action in script.begun if isinstance(action, SendReport)]
    assert REPAIRS not in facts[0]
    assert read_counts(facts[-1][REPAIRS], "") == {("emulator", "failed"): 1, ("emulator", "done"): 1, ("emulator", "undone"): 1}


def test_a_repair_that_found_nothing_to_do_is_not_told_and_cannot_be_undone() -> None:
    script = agent()
    for _ in range(MOST_UNDONE + 1):
        audit(script, VM)
        assert repairs(audit(script, VM)) == [Repair(guest=VM)]
        script.tell(Repaired(guest=VM, needless=True, when=script.when()))
    assert script.state.repair_counts == {}
    assert not [line for line in script.logged if "repair" in line]


def test_drift_after_a_change_of_the_pools_is_nobody_s_undoing() -> None:
    script = agent()
    audit(script, VM)
    assert repairs(audit(script, VM)) == [Repair(guest=VM)]
    repaired(script)
    script.tell(OptionsRead(options=(), pools=PoolConfig(shared=CpuSet.of(0)), when=script.when()))
    audit(script, VM)
    assert not [line for line in script.logged if "undid" in line]
