"""The JSON form of findings: in the agents' protocol, the store, `/v1` and `--json`. Pure; `finding` holds what they mean.

| written | by | read by |
|---|---|---|
| one finding | `write` | `read` |
| what an agent reports of its host | `findings_report` | `accept` |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from pinfold.core.drift.finding import Finding, FindingCode, Severity
from pinfold.core.encoding import plain, reader
from pinfold.core.overhead import ThreadClass
from pinfold.core.printable import cleaned, shortened

MOST_FINDINGS: Final = 1_000
"""The most findings of one report. Of those beyond, only the number is reported."""
MOST_BYTES: Final = 900_000
"""The most bytes of the findings of one report. The service reads bodies of 1 MiB."""
MOST_THREADS: Final = 1_000
MOST_TEXT: Final = 4_000
MOST_COMMAND: Final = 64_000
_TOO_LONG: Final = "its command is too long for a report; `pinfold audit` on the host prints it"

_Text = Annotated[str, Meta(max_length=MOST_TEXT)]
_Tid = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class WrittenThread(Struct, frozen=True, kw_only=True):
    """A thread by its id and name."""

    tid: _Tid
    name: _Text


class WrittenFinding(Struct, frozen=True, kw_only=True):
    """A finding. `severity` and `sentence` follow from the other fields."""

    code: FindingCode
    severity: Severity
    guest: _Text = ""
    guest_id: _Text = ""
    tid: _Tid | None = None
    thread: _Text = ""
    thread_class: ThreadClass | None = None
    threads: Annotated[tuple[WrittenThread, ...], Meta(max_length=MOST_THREADS)] = ()
    definition: _Text = "definition"
    by_record: bool = True
    subject: _Text = ""
    recorded: _Text = ""
    observed: _Text = ""
    sentence: str = ""
    repair: Annotated[str, Meta(max_length=MOST_COMMAND)] = ""
    advice: _Text = ""


class FindingCount(Struct, frozen=True, kw_only=True):
    """How many findings have that code and severity."""

    code: FindingCode
    severity: Severity
    count: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class FindingsReport(Struct, frozen=True, kw_only=True):
    """What the audit of a host found. `more` counts the findings that are left out."""

    findings: Annotated[tuple[WrittenFinding, ...], Meta(max_length=MOST_FINDINGS)] = ()
    more: Annotated[tuple[FindingCount, ...], Meta(max_length=2 * len(FindingCode))] = ()

    @property
    def counts(self) -> tuple[FindingCount, ...]:
        """All findings by code and severity, with those that are left out."""
        counted = Counter((finding.code, finding.severity) for finding in self.findings)
        for more in self.more:
            counted[more.code, more.severity] += more.count
        return _counts(counted)


_read_finding = reader(WrittenFinding)
_read_report = reader(FindingsReport)


def write(finding: Finding) -> WrittenFinding:
    """The form of a finding.

    >>> write(Finding(code=FindingCode.TWO_OWNERS, subject="4-5", observed="a, b")).sentence
    'pCPUs 4-5 have more than one owner: a, b'
    """
    return WrittenFinding(
        code=finding.code,
        severity=finding.severity,
        guest=finding.guest,
        guest_id=finding.guest_id,
        tid=finding.tid,
        thread=finding.thread,
        thread_class=finding.thread_class,
        threads=tuple(WrittenThread(tid=tid, name=name) for tid, name in finding.threads),
        definition=finding.definition,
        by_record=finding.by_record,
        subject=finding.subject,
        recorded=finding.recorded,
        observed=finding.observed,
        sentence=finding.sentence(),
        repair=finding.repair,
        advice=finding.advice,
    )


def read(written: WrittenFinding) -> Finding:
    """The finding that was written. The steps of its repair are not written; their command is."""
    return Finding(
        code=written.code,
        guest=written.guest,
        guest_id=written.guest_id,
        tid=written.tid,
        thread=written.thread,
        thread_class=written.thread_class,
        threads=tuple((thread.tid, thread.name) for thread in written.threads),
        definition=written.definition,
        by_record=written.by_record,
        subject=written.subject,
        recorded=written.recorded,
        observed=written.observed,
        repair=written.repair,
        advice=written.advice,
        minor=written.severity is Severity.NOTE,
    )


def finding_key(finding: WrittenFinding) -> tuple[FindingCode, str, str, str, str]:
    """What makes a finding another one, and not the same with other threads, other numbers or another wrong place.

    Processes of strangers are told apart by name, because they come and go. Threads of unknown class come and go, too: which they are
    makes no other finding.
    """
    subject = "" if finding.code is FindingCode.MEMORY_CELL else finding.subject
    if finding.code is FindingCode.FOREIGN_FLOATING:
        subject = subject.partition(" (")[0]
    kind = "" if finding.thread_class is None else finding.thread_class.value
    return finding.code, finding.guest_id or finding.thread, subject, kind, finding.definition


def document(finding: Finding) -> dict[str, Any]:
    """The form of a finding as JSON types."""
    made: dict[str, Any] = plain(write(finding))
    return made


def from_document(given: object) -> Finding:
    """The finding of a document. Raises `InvalidRequest`."""
    return read(_read_finding(given, "finding"))


def findings_report(findings: Iterable[Finding]) -> FindingsReport:
    """The report of those findings: as many as fit into its bounds, those that break a promise first. Texts that are too long are cut."""
    written = sorted((_shortened(write(finding)) for finding in findings), key=lambda one: one.severity is Severity.NOTE)
    kept: list[WrittenFinding] = []
    left: Counter[tuple[FindingCode, Severity]] = Counter()
    free = MOST_BYTES
    for one in written:
        size = len(msgspec.json.encode(one)) + 1
        if len(kept) < MOST_FINDINGS and size <= free:
            kept.append(one)
            free -= size
        else:
            left[one.code, one.severity] += 1
    return FindingsReport(findings=tuple(kept), more=_counts(left))


def accept(given: object) -> FindingsReport:
    """The report that an agent sent, as JSON types, with the sentences rendered anew. Raises `InvalidRequest`."""
    report = _read_report(given, "findings")
    return replace(report, findings=tuple(write(read(finding)) for finding in report.findings))


def identity(report: FindingsReport) -> frozenset[object]:
    """What makes a report news: which findings there are, without what changes while they stay.

    Left out are amounts that grow, the numbers of findings that are not listed, and the threads that a process starts and ends all the
    time, with the commands that name them.
    """
    return frozenset((*map(_lasting, report.findings), *((more.code, more.severity) for more in report.more)))


def _lasting(finding: WrittenFinding) -> WrittenFinding:
    lasting = replace(finding, sentence="")
    if finding.code is FindingCode.MEMORY_CELL:
        lasting = replace(lasting, subject="")
    if finding.guest and finding.thread_class in (None, ThreadClass.EMULATOR):
        lasting = replace(lasting, tid=None, thread="", threads=(), repair="")
    return lasting


def _shortened(finding: WrittenFinding) -> WrittenFinding:
    """The finding within the bounds of the form. A command is left out, never cut."""
    cut = _changed(finding, _cut)
    if len(finding.repair) > MOST_COMMAND:
        cut = replace(cut, repair="", advice=_TOO_LONG)
    return write(read(replace(cut, threads=cut.threads[:MOST_THREADS])))


def _cut(text: str) -> str:
    return shortened(cleaned(text), MOST_TEXT)


def _changed(finding: WrittenFinding, change: Callable[[str], str]) -> WrittenFinding:
    """The finding with all its texts but the sentence changed, and the command cleaned."""
    names = ("guest", "guest_id", "thread", "definition", "subject", "recorded", "observed", "advice")
    texts = {name: change(getattr(finding, name)) for name in names}
    threads = tuple(WrittenThread(tid=thread.tid, name=change(thread.name)) for thread in finding.threads)
    return replace(finding, **texts, threads=threads, repair=cleaned(finding.repair))


def _counts(counted: Counter[tuple[FindingCode, Severity]]) -> tuple[FindingCount, ...]:
    ordered = sorted(counted.items(), key=lambda item: (item[0][0].value, item[0][1].value))
    return tuple(FindingCount(code=code, severity=severity, count=count) for (code, severity), count in ordered)
