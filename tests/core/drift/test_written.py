"""The JSON form of findings: there and back, bounded, cleaned, and what makes a report news."""

from __future__ import annotations

import json

import pytest
from docs.finding_examples import examples
from msgspec.structs import replace

from pinfold.core.drift import Finding, FindingCode, Severity, written
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import ThreadClass

STRAY = Finding(
    code=FindingCode.EMULATOR_THREAD,
    guest="web",
    guest_id="g1",
    tid=71,
    thread="worker",
    thread_class=ThreadClass.EMULATOR,
    threads=((71, "worker"), (72, "worker")),
    recorded="0-1",
    observed="0-15",
    repair="taskset -pc 0-1 71",
)
VCPU = replace(STRAY, code=FindingCode.VCPU_THREAD, thread_class=ThreadClass.VCPU, threads=((71, "CPU 0/KVM"),))
SHARED = Finding(code=FindingCode.TWO_OWNERS, subject="4-5", observed="guest a, guest b", advice="move one")
MEMORY = Finding(code=FindingCode.MEMORY_CELL, guest="web", guest_id="g1", subject="37 MiB", recorded="0", observed="1")
PROCESS = Finding(code=FindingCode.FOREIGN_PROCESS, tid=900, thread="stress", subject="process", observed="4")


@pytest.mark.parametrize("finding", examples().values(), ids=[code.value for code in examples()])
def test_every_finding_can_be_written_and_read_again(finding: Finding) -> None:
    plain = json.loads(json.dumps(written.document(finding)))
    back = written.from_document(plain)
    assert (back.severity, back.sentence()) == (finding.severity, finding.sentence())
    assert json.loads(json.dumps(written.document(back))) == plain
    assert decoder(written.WrittenFinding)(encode(written.write(finding)), "row") == written.write(finding)


def test_a_finding_that_is_minor_stays_a_note() -> None:
    assert written.read(written.write(replace(SHARED, minor=True))).severity is Severity.NOTE


def test_a_report_holds_a_thousand_findings_and_counts_the_others() -> None:
    notes = [Finding(code=FindingCode.POOL_PART, guest=f"n{number}") for number in range(30)]
    drift = [replace(PROCESS, tid=number) for number in range(999)]
    report = written.findings_report([*notes, *drift, SHARED])
    assert len(report.findings) == written.MOST_FINDINGS
    assert {finding.severity for finding in report.findings} == {Severity.DRIFT}
    assert [(more.code, more.severity, more.count) for more in report.more] == [(FindingCode.POOL_PART, Severity.NOTE, 30)]
    assert {(each.code, each.count) for each in report.counts} == {
        (FindingCode.POOL_PART, 30),
        (FindingCode.FOREIGN_PROCESS, 999),
        (FindingCode.TWO_OWNERS, 1),
    }


def test_a_report_of_long_findings_stays_below_the_body_that_the_service_reads() -> None:
    long = [replace(STRAY, guest=f"{number} " + "ü" * 5_000, repair="x" * 60_000) for number in range(100)]
    report = written.findings_report(long)
    assert 0 < len(report.findings) < 100
    assert sum(more.count for more in report.more) == 100 - len(report.findings)
    assert len(json.dumps([written.document(written.read(one)) for one in report.findings], ensure_ascii=False).encode()) < 1 << 20


def test_a_command_that_is_too_long_is_left_out_and_never_cut() -> None:
    (kept,) = written.findings_report([replace(STRAY, repair="x" * 70_000)]).findings
    assert kept.repair == ""
    assert "`pinfold audit` on the host" in kept.advice


def test_what_an_agent_sends_is_cleaned_and_its_sentence_rendered_anew() -> None:
    plain = {"findings": [written.document(replace(STRAY, guest="a\x1b[2J\ud800", repair="x\x07")) | {"sentence": "all is well"}]}
    (kept,) = written.accept(plain).findings
    assert (kept.guest, kept.repair) == ("a\ufffd[2J\ufffd", "x\ufffd")
    assert kept.sentence.startswith("guest a\ufffd[2J\ufffd: emulator threads 71, 72 (worker) may run on 0-15")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code": "no-such"}, "no-such"),
        ({"tid": -1}, "tid"),
        ({"guest": 7}, "guest"),
        ({"guest": "x" * 5_000}, "guest"),
        ({"threads": [{"tid": 1}]}, "name"),
        ({"threads": [{"tid": 1, "name": "x"}] * 1_001}, "threads"),
        ({"repair": "x" * 64_001}, "repair"),
    ],
)
def test_what_is_no_finding_is_refused_with_its_place(change: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^findings: .*{why}"):
        written.accept({"findings": [written.document(STRAY) | change]})


def test_a_counter_that_grows_is_not_news() -> None:
    def news(before: Finding, after: Finding) -> bool:
        return written.identity(written.findings_report([before])) != written.identity(written.findings_report([after]))

    assert not news(MEMORY, replace(MEMORY, subject="41 MiB"))
    assert not news(STRAY, replace(STRAY, tid=80, threads=((80, "worker"),), repair="taskset -pc 0-1 80"))
    assert news(MEMORY, replace(MEMORY, observed="1-2"))
    assert news(STRAY, replace(STRAY, observed="0-7"))
    assert news(VCPU, replace(VCPU, tid=80, threads=((80, "CPU 0/KVM"),)))
    assert news(PROCESS, replace(PROCESS, tid=901)), "another process with the same name"


def test_how_many_are_left_out_is_not_news() -> None:
    many = [replace(PROCESS, tid=number) for number in range(1_000)]
    few, more = (written.findings_report([*many, *[MEMORY] * number]) for number in (3, 9))
    assert written.identity(few) == written.identity(more) != written.identity(written.findings_report(many))
