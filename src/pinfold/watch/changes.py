"""What changed between two sweeps, for the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.drift import FindingCode, Severity
from pinfold.core.drift.written import WrittenFinding, finding_key
from pinfold.core.printable import shown
from pinfold.watch.snapshot import SeenGuest, SeenPcpu, Snapshot


class ChangeKind(Enum):
    """What happened. The values are stable; the journal keeps them."""

    CAME = "guest-came"
    WENT = "guest-went"
    OWNER = "owner"
    SECOND_OWNER = "second-owner"
    POOL = "pool"
    DRIFTED = "drifted"
    PUT_BACK = "put-back"
    REPAIR = "repair"
    FOLLOWED = "followed"
    UNWATCHED = "unwatched"


class Change(Struct, frozen=True, kw_only=True):
    """One change. Fields that do not apply are '' or None.

    | kind | fields |
    |---|---|
    | CAME, WENT | the guest; `after`: its origin and policy |
    | OWNER | `pcpu`; `before` and `after`: its owners |
    | SECOND_OWNER | `pcpu`; `after`: its owners |
    | POOL | `subject`: the pool's name; `before` and `after`: its pCPUs |
    | DRIFTED, PUT_BACK | the guest; `subject`: the finding's code; `after`: its sentence |
    | FOLLOWED | the guest; `after`: a sentence |
    | REPAIR | the guest; `subject`: the result; `after`: a sentence |
    | UNWATCHED | `before`: when the sweep before was, in seconds since the epoch |
    """

    kind: ChangeKind
    guest: str = ""
    guest_id: str = ""
    pcpu: int | None = None
    subject: str = ""
    before: str = ""
    after: str = ""


EMPTY: Final = Snapshot(host="", uri="")
"""The snapshot before the first one."""

_Key = tuple[FindingCode, str, str, str, str]


def changes(before: Snapshot, now: Snapshot) -> tuple[Change, ...]:
    """What changed: pools, guests that went and came, owners of pCPUs, drift. Within each, by name, pCPU or sentence."""
    return (*pool_changes(before, now), *_guests(before, now), *_owners(before, now), *_drift(before, now))


def pool_changes(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    """The pools that have changed, by name."""
    old, new = ({pool.name: str(pool.cpus) for pool in one.pools} for one in (before, now))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Change(kind=ChangeKind.POOL, subject=name, before=old.get(name, ""), after=new.get(name, ""))


def pool_sentence(change: Change) -> str:
    """One such change as the log and the history say it."""
    return f"the {change.subject} pool is {change.after or 'nothing'}; before: {change.before or 'nothing'}"


def _guests(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    old, new = ({guest.id: guest for guest in one.guests if guest.runs} for one in (before, now))
    yield from (_of_guest(ChangeKind.WENT, guest) for guest in _by_name(old[key] for key in old.keys() - new.keys()))
    yield from (_of_guest(ChangeKind.CAME, guest) for guest in _by_name(new[key] for key in new.keys() - old.keys()))


def _by_name(guests: Iterable[SeenGuest]) -> list[SeenGuest]:
    return sorted(guests, key=lambda guest: (guest.name, guest.id))


def _of_guest(kind: ChangeKind, guest: SeenGuest) -> Change:
    what = ", ".join(filter(None, (guest.origin, guest.policy, guest.server and f"server {guest.server}")))
    return Change(kind=kind, guest=guest.name, guest_id=guest.id, after=what)


def _owners(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    old, new = ({pcpu.pcpu: pcpu for pcpu in one.pcpus} for one in (before, now))
    for cpu in sorted(old.keys() | new.keys()):
        was, is_ = (owners_text(one[cpu]) if cpu in one else "" for one in (old, new))
        if was != is_:
            yield Change(kind=ChangeKind.OWNER, pcpu=cpu, before=was, after=is_)
        if cpu in new and new[cpu].contested and not (cpu in old and old[cpu].contested):
            yield Change(kind=ChangeKind.SECOND_OWNER, pcpu=cpu, after=is_)


def owners_text(pcpu: SeenPcpu) -> str:
    """The owners of a pCPU as the journal keeps them, a line each: role, id, name as shown on a screen. '' for none."""
    return "\n".join(f"{owner.role} {owner.id or '-'} {shown(owner.guest)}" for owner in sorted(pcpu.owners))


def owners_of(text: str) -> tuple[tuple[str, str, str], ...]:
    """The owners in such a text: role, id ('' if unknown) and name of each.

    >>> owners_of("vcpu 1f web 1\\nvcpu - db")
    (('vcpu', '1f', 'web 1'), ('vcpu', '', 'db'))
    """
    lines = [line.split(" ", 2) for line in text.split("\n") if line]
    return tuple((line[0], "" if line[1] == "-" else line[1], line[2]) for line in lines if len(line) == 3)


def _drift(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    old, new = ({finding_key(finding): finding for finding in one.findings if finding.severity is Severity.DRIFT} for one in (before, now))
    yield from (_of_finding(ChangeKind.PUT_BACK, finding) for finding in _by_sentence(old[key] for key in old.keys() - new.keys()))
    yield from (_of_finding(ChangeKind.DRIFTED, finding) for finding in _by_sentence(new[key] for key in new.keys() - old.keys()))


def _by_sentence(findings: Iterable[WrittenFinding]) -> list[WrittenFinding]:
    return sorted(findings, key=lambda finding: finding.sentence)


def _of_finding(kind: ChangeKind, finding: WrittenFinding) -> Change:
    return Change(kind=kind, guest=finding.guest, guest_id=finding.guest_id, subject=finding.code.value, after=finding.sentence)
