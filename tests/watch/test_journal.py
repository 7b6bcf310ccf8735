"""The journal on the disk: what is kept, for how long, up to which size, and what a damaged file does."""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.watch.seen import HOUR, TUESDAY, guest, owner, snapshot

from pinfold.core.drift import Finding, FindingCode
from pinfold.core.drift.written import write
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.watch.changes import Change, ChangeKind
from pinfold.watch.journal import DAY, Journal, read, read_since
from pinfold.watch.snapshot import Snapshot
from pinfold.watch.tenures import moment, tenures

WEB, DB = guest(1, name="web"), guest(2, name="db")
HELD = snapshot(WEB, owners={2: (owner(WEB),)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host.journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    found = Journal(path, days=30, mib=1)
    yield found
    found.close()


def kinds(path: Path, **filters: object) -> list[str]:
    return [entry.change.kind.value for entry in read(path, **filters).entries]  # type: ignore[arg-type]


def test_only_changes_are_written_and_only_once(journal: Journal, path: Path) -> None:
    for number in range(4):
        journal.keep(HELD, TUESDAY + 10 * number)
    assert kinds(path) == ["pool", "pool", "pool", "guest-came", "owner"]
    assert read(path).seen == TUESDAY + 30


def test_a_watch_that_begins_anew_tells_what_changed_meanwhile(journal: Journal, path: Path) -> None:
    journal.keep(snapshot(), TUESDAY)
    journal.close()
    again = Journal(path, days=30, mib=1)
    again.keep(HELD, TUESDAY + HOUR)
    again.close()
    assert kinds(path, since=TUESDAY + 1) == ["unwatched", "guest-came", "owner"]
    assert read(path, since=TUESDAY + 1).entries[0].change.before == repr(TUESDAY)


def test_two_watches_of_one_host_write_each_change_once(journal: Journal, path: Path) -> None:
    other = Journal(path, days=30, mib=1)
    for at, seen in enumerate((snapshot(), HELD, snapshot(), HELD)):
        journal.keep(seen, TUESDAY + at)
        other.keep(seen, TUESDAY + at)
    other.close()
    assert kinds(path, guest="web") == ["guest-came", "owner", "guest-went", "owner", "guest-came", "owner"]


def test_nobody_else_may_read_it(journal: Journal, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_guest_s_history_has_the_pcpus_that_it_got_and_gave_up(journal: Journal, path: Path) -> None:
    journal.keep(snapshot(), TUESDAY)
    journal.keep(HELD, TUESDAY + 1)
    journal.keep(snapshot(WEB, DB, owners={3: (owner(DB),)}), TUESDAY + 2)
    assert kinds(path, guest="web") == ["guest-came", "owner", "owner"]
    assert kinds(path, guest=DB.id) == ["guest-came", "owner"]
    assert kinds(path, guest="nobody") == []


def test_a_guest_that_came_before_the_oldest_entry_has_a_history(journal: Journal, path: Path) -> None:
    journal.keep(HELD, TUESDAY)
    moved = snapshot(WEB, owners={3: (owner(WEB),)})
    journal.keep(moved, TUESDAY + 40 * DAY)
    assert kinds(path, guest="web") == kinds(path, guest=WEB.id) == ["owner", "owner"]
    journal.keep(snapshot(DB), TUESDAY + 80 * DAY)
    assert kinds(path, guest="web") == ["guest-went", "owner"]


def test_who_was_on_a_pcpu_is_told_without_a_gap(journal: Journal, path: Path) -> None:
    for at, holder in enumerate((None, WEB, None, DB)):
        journal.keep(snapshot(owners={} if holder is None else {2: (owner(holder),)}), TUESDAY + at * HOUR)
    kept = read(path, pcpu=2)
    found = tenures(kept.entries, "vcpu 0000-2 db", begins=kept.begins)
    assert [(one.begins, [name for _, _, name in one.owners]) for one in found] == [
        (None, []),
        (TUESDAY + HOUR, ["web"]),
        (TUESDAY + 2 * HOUR, []),
        (TUESDAY + 3 * HOUR, ["db"]),
    ]
    assert all(one.ends == other.begins for one, other in itertools.pairwise(found))
    night = tenures(kept.entries, "vcpu 0000-2 db", begins=kept.begins, since=TUESDAY + 1.5 * HOUR, until=TUESDAY + 1.6 * HOUR)
    assert [[name for _, _, name in one.owners] for one in night] == [["web"]]


def test_owners_at_the_first_sweep_had_it_before_the_journal_began(journal: Journal, path: Path) -> None:
    journal.keep(HELD, TUESDAY)
    kept = read(path, pcpu=2)
    (one,) = tenures(kept.entries, "vcpu 0000-1 web", begins=kept.begins)
    assert (one.begins, one.ends, one.owners) == (TUESDAY, None, (("vcpu", WEB.id, "web"),))


def test_old_entries_go(journal: Journal, path: Path) -> None:
    for day in range(50):
        journal.keep(HELD if day % 2 else snapshot(), TUESDAY + day * DAY)
    kept = read(path)
    assert min(entry.at for entry in kept.entries) >= TUESDAY + 19 * DAY
    assert kept.begins == kept.entries[0].at


def test_the_file_stays_below_its_size_and_keeps_the_newest(journal: Journal, path: Path) -> None:
    for number in range(6_000):
        journal.note(Change(kind=ChangeKind.REPAIR, guest="web", guest_id="0000-1", after=f"{number} " + "x" * 400), TUESDAY + number)
    size = sum(one.stat().st_size for one in path.parent.iterdir() if one.name == path.name)
    assert size <= 1024 * 1024
    kept = read(path).entries
    assert len(kept) > 500
    assert kept[-1].change.after.startswith("5999 ")


def test_a_damaged_file_is_put_aside(path: Path) -> None:
    path.write_bytes(b"no journal at all" * 1000)
    found = Journal(path, days=30, mib=1)
    found.keep(HELD, TUESDAY)
    found.close()
    assert found.put_aside == f"{path}.damaged"
    assert len(kinds(path)) == 5


def test_a_journal_of_another_version_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(InvalidRequest, match="is of another version of pinfold"):
        Journal(path, days=30, mib=1)
    with pytest.raises(InvalidRequest, match="is of another version of pinfold"):
        read(path)


def test_a_journal_that_cannot_be_written_is_one_sentence(journal: Journal, path: Path) -> None:
    journal.keep(snapshot(), TUESDAY)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE changes")
    other.close()
    with pytest.raises(Unavailable, match=r"the journal .* cannot be written: no such table: changes"):
        journal.keep(HELD, TUESDAY + 1)


def test_no_journal_is_said_with_what_makes_one(path: Path) -> None:
    with pytest.raises(InvalidRequest, match="`pinfold watch` writes it"):
        read(path)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(InvalidRequest, match="cannot be opened"):
        Journal(path, days=30, mib=1)


@pytest.mark.parametrize("text", ["yesterday", "24.11.2026", "3w", "-1h", "2026-13-01", ""])
def test_a_moment_that_is_none_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidRequest, match="write 2026-11-24"):
        moment(text, TUESDAY)


def _drift(observed: str, *, guest: str = "web", vcpu: int = 0) -> Finding:
    return Finding(
        code=FindingCode.DEFINITION_PINS, guest=guest, guest_id=guest, tid=71, subject=f"vCPU {vcpu}", recorded="3", observed=observed
    )


def _seen(*findings: Finding) -> Snapshot:
    return replace(HELD, findings=tuple(map(write, findings)))


def test_the_journal_knows_since_when_a_finding_has_been_there(journal: Journal, path: Path) -> None:
    web, db = _drift("0-1"), _drift("0-1", guest="db")
    for at, seen in ((0, _seen()), (10, _seen(web)), (20, _seen(_drift("0-7"), db)), (30, _seen(db)), (40, _seen(web, db))):
        journal.keep(seen, TUESDAY + at)
        if at == 20:
            assert read_since(path, (_drift("0-7"), db)) == (TUESDAY + 10, TUESDAY + 20), "the same finding, although the place is another"
    assert read_since(path, (web, db, _drift("0-1", vcpu=1))) == (TUESDAY + 40, TUESDAY + 20, None)
    journal.close()
    again = Journal(path, days=30, mib=1)
    again.keep(_seen(web, db), TUESDAY + HOUR)
    again.close()
    assert read_since(path, (web, db)) == (TUESDAY + 40, TUESDAY + 20), "a watch that begins anew keeps it"


def test_a_finding_that_is_older_than_what_the_journal_knows_has_no_time(journal: Journal, path: Path) -> None:
    """As in a journal of an earlier pinfold, which kept no times."""
    web, db = _drift("0-1"), _drift("0-1", guest="db")
    journal.keep(_seen(web), TUESDAY)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM kept WHERE name = 'drift-since'")
    journal.keep(_seen(web, db), TUESDAY + 10)
    assert read_since(path, (web, db)) == (None, TUESDAY + 10)
