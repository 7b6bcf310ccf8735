"""When the agent audits its host, and when it tells the service what it found."""

from __future__ import annotations

from msgspec.structs import replace
from tests.agent.script import FACTS, RULES, G, H, Script, guest, order

from pinfold.agent.actions import Action, Audit, Perform, SendFindings, SendHeartbeat, Verify
from pinfold.agent.audits import REFRESH_SECONDS, WHOLE_SECONDS, age
from pinfold.agent.events import Audited, FindingsSent, Outcome, RenewedEarly
from pinfold.agent.reconcile import LastBoot, Memory
from pinfold.agent.wire import Renewal
from pinfold.core.drift import Finding, FindingCode
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired

PROCESS = Finding(code=FindingCode.FOREIGN_PROCESS, tid=900, thread="stress", subject="process", observed="4")
MEMORY = Finding(code=FindingCode.MEMORY_CELL, guest="vm", guest_id=G, subject="37 MiB", recorded="0", observed="1")
OTHER = Finding(code=FindingCode.OUTSIDE_POOL, guest="other", guest_id=H, subject="its pins", recorded="2-7", observed="0")


def agent() -> Script:
    """An agent that has booted one guest."""
    return Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot=FACTS.host_boot),)))


def sweep(script: Script, desired: Desired = Desired.RUNNING) -> None:
    """Let the time of a sweep pass, and play turns until an audit is under way; two at most."""
    script.at += RULES.sweep_seconds
    before = len(audits(script))
    for _ in range(2):
        if len(audits(script)) == before:
            script.plays((order(desired=desired),), guest(state=GuestState.RUNNING))


def audits(script: Script) -> list[Audit]:
    return [action for action in script.begun if isinstance(action, Audit)]


def finds(script: Script, *findings: Finding, unread: dict[str, str] | None = None) -> list[SendFindings]:
    """Answer the audit, and a heartbeat that is overdue by then; the reports that are sent."""
    actions: list[Action] = script.tell(Audited(findings=findings, unread=unread or {}, when=script.when()))
    if any(isinstance(action, SendHeartbeat) for action in actions):
        actions += script.welcome()
    return [action for action in actions if isinstance(action, SendFindings)]


def told(script: Script, *findings: Finding) -> bool:
    """Play a sweep whose audit finds that, and let the service acknowledge the report. Whether there was one."""
    sweep(script)
    sent = finds(script, *findings)
    for action in sent:
        script.tell(FindingsSent(report=action.report, when=script.when()))
    return bool(sent)


def test_the_audit_begins_after_the_reports_whose_readings_of_threads_it_uses() -> None:
    script = agent()
    sweep(script)
    assert [type(action) for action in script.begun if isinstance(action, Verify | Audit)] == [Verify, Audit]


def test_each_sweep_audits_what_was_seen_and_one_at_a_time() -> None:
    script = agent()
    sweep(script)
    sweep(script)
    (first,) = audits(script)
    assert [one.id for one in first.seen.guests] == [G]
    finds(script)
    script.at += 100 * RULES.sweep_seconds
    sweep(script)
    assert len(audits(script)) == 2


def test_an_audit_that_takes_long_is_followed_by_a_pause_in_proportion() -> None:
    script = agent()
    sweep(script)
    script.at += 3.0
    finds(script)
    ended = script.at
    while script.at < ended + 15.0:
        sweep(script)
        assert len(audits(script)) == 1
    script.at = ended + 30.0
    sweep(script)
    assert len(audits(script)) == 2


def test_what_is_found_is_told_once_and_again_when_it_changes_or_grows_old() -> None:
    script = agent()
    assert told(script), "that there is nothing is news after a start"
    assert told(script, PROCESS, MEMORY)
    assert not told(script, PROCESS, MEMORY)
    assert not told(script, MEMORY, PROCESS)
    assert not told(script, PROCESS, replace(MEMORY, subject="41 MiB")), "a counter that grows is no news"
    assert told(script, PROCESS, replace(MEMORY, observed="1-2"))
    assert told(script, PROCESS)
    script.at += REFRESH_SECONDS
    assert told(script, PROCESS)
    assert not told(script, PROCESS)
    assert told(script)
    assert not told(script)


def test_the_values_are_reported_with_those_that_break_a_promise_first() -> None:
    script = agent()
    sweep(script)
    (sent,) = finds(script, replace(OTHER, code=FindingCode.POOL_PART), PROCESS)
    assert [one.code for one in sent.report.findings] == [FindingCode.FOREIGN_PROCESS, FindingCode.POOL_PART]


def test_a_report_that_was_not_answered_is_sent_again() -> None:
    script = agent()
    assert told(script, PROCESS)
    sweep(script)
    (sent,) = finds(script, PROCESS, OTHER)
    assert not script.fails(sent)
    assert told(script, PROCESS), "the service may have the last report, or the one before it"
    assert script.logged.count("the findings of the audit are not reported: no answer") == 1
    assert "over: the findings of the audit are not reported: no answer" in script.logged


def test_one_report_is_under_way_at_a_time() -> None:
    script = agent()
    sweep(script)
    (sent,) = finds(script, PROCESS)
    sweep(script)
    assert not finds(script, PROCESS, OTHER)
    script.tell(FindingsSent(report=sent.report, when=script.when()))
    assert told(script, PROCESS, OTHER)


def test_a_guest_whose_task_is_under_way_is_left_out() -> None:
    script = agent()
    assert told(script, MEMORY, OTHER)
    script.orders(order(desired=Desired.ABSENT), count=2, polled=True)
    sweep(script, Desired.ABSENT)
    assert isinstance(script.performing(G), Perform)
    (sent,) = finds(script, MEMORY, OTHER)
    assert [one.code for one in sent.report.findings] == [FindingCode.OUTSIDE_POOL]
    script.ends(G, outcome=Outcome())


def test_the_findings_of_a_guest_that_cannot_be_read_stand() -> None:
    script = agent()
    assert told(script, MEMORY, OTHER)
    sweep(script)
    assert not finds(script, MEMORY, unread={H: "procfs cannot be read"})
    assert f"guest {H} cannot be audited: procfs cannot be read" in script.logged
    assert told(script, MEMORY)


def test_the_drift_of_the_host_is_logged_when_it_begins_and_when_it_ends() -> None:
    script = agent()
    for findings in ((), (PROCESS,), (PROCESS, MEMORY), (MEMORY,)):
        told(script, *findings)
    sentence = "the host has drifted: process 900 (stress) is bound to the dedicated pCPU 4"
    assert [line for line in script.logged if "the host has drifted" in line] == [sentence, f"over: {sentence}"]


def test_an_audit_that_fails_is_tried_again_at_the_next_sweep() -> None:
    script = agent()
    sweep(script)
    script.fails(audits(script)[0], "/proc cannot be read", away=False)
    assert "the host cannot be audited: /proc cannot be read" in script.logged
    assert told(script, PROCESS)
    assert "over: the host cannot be audited: /proc cannot be read" in script.logged


def polled(script: Script, *, noted: bool) -> None:
    """A poll that was sent now, is a sign of life, and is told early that it has renewed the lease."""
    script.state = replace(script.state, polling=True, alive=True, polled=script.at)
    script.tell(RenewedEarly(renewal=Renewal(report="d", lease_seconds=1e6, audited=noted), when=script.when()))


def test_polls_say_how_long_ago_an_audit_found_what_the_service_has() -> None:
    script = agent()
    told(script, PROCESS)
    assert age(script.state.audits, script.at) is None
    assert not told(script, PROCESS)
    assert age(script.state.audits, script.at + 7.0) == 7.0
    assert age(script.state.audits, script.at + REFRESH_SECONDS + 1.0) is None
    sweep(script)
    finds(script, OTHER)
    assert age(script.state.audits, script.at) is None  # until the service has acknowledged it, nobody knows what it has


def test_the_same_findings_are_not_sent_again_while_polls_say_that_they_are_the_same() -> None:
    script = agent()
    assert told(script, PROCESS)
    began = script.at
    while script.at < began + WHOLE_SECONDS - REFRESH_SECONDS:
        assert not told(script, PROCESS)
        polled(script, noted=True)
    while script.at < began + WHOLE_SECONDS:
        polled(script, noted=True)
        sent = told(script, PROCESS)
    assert sent  # once in an hour they are


def test_the_same_findings_are_sent_again_if_the_service_notes_nothing_of_polls() -> None:
    script = agent()
    assert told(script, PROCESS)
    began, sent = script.at, False
    while not sent:
        assert script.at - began < REFRESH_SECONDS + 10 * RULES.sweep_seconds
        polled(script, noted=False)
        sent = told(script, PROCESS)
    assert script.at - began >= REFRESH_SECONDS
