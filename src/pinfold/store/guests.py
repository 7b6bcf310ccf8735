"""Store guests: what the user wants, what the agent saw, and the fault. The claim says where a guest's threads run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import replace

from pinfold.core.encoding import encode
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.fit.written import Refusal
from pinfold.core.identity import GuestId, HostId
from pinfold.store import claims, console_tokens, guest_configs, guest_events, guest_rows, hosts, ports
from pinfold.store.database import EpochNow
from pinfold.store.guest_filter import GuestFilter, conditions_of, name_test
from pinfold.store.records import (
    ADOPTING,
    REBUILD,
    REBUILDING,
    RESET,
    SCHEDULING,
    ClaimRecord,
    ClaimRole,
    ClaimState,
    Desired,
    FailedStart,
    Fault,
    GuestRecord,
    Move,
    NewGuest,
    Observed,
    Pairs,
    Pause,
    Rebuild,
)
from pinfold.store.schema import claim, guest

_HAS_LIVE_CLAIM: Final = sa.select(claim.c.id).where(claim.c.guest == guest.c.id, claim.c.state != ClaimState.ABANDONED.value).exists()

# Built once, because every create uses them: SQLAlchemy takes longer to build an expression than SQLite to execute it.
_CREATE: Final = guest.insert().values(guest_rows.AT_FIRST).returning(guest.c.id, guest.c.created, guest.c.updated)
PLACE_EACH: Final = (
    guest.update()
    .where(guest.c.deleted.is_(None), guest.c.desired != Desired.ABSENT.value)
    .values(task="spawning", fault="", observed=Observed.UNSEEN.value, revision=guest.c.revision + 1, updated=EpochNow())
)
"""Sends guests to a host, unless they are gone or unwanted; without a condition that says which, and without the host."""
PLACE: Final = PLACE_EACH.where(guest.c.id == sa.bindparam("guest_id"))
_PLACE_ALL: Final = PLACE_EACH.where(guest.c.id.in_(sa.bindparam("guest_ids", expanding=True)))
_THERE: Final = GuestFilter()
_AT_FIRST: Final = 100
_AT_ONCE: Final = 500
_FIND: Final = sa.select(guest).where(guest.c.id == sa.bindparam("guest_id"))
_HOLD: Final = _FIND.with_for_update(key_share=True)  # as a change of the row locks it: rows that refer to it can be added meanwhile


def create(connection: sa.Connection, new: NewGuest) -> GuestRecord:
    """Store a new guest with its configuration and its ports, as `create_all`."""
    return create_all(connection, (new,))[0]


def create_all(connection: sa.Connection, new: Sequence[NewGuest]) -> tuple[GuestRecord, ...]:
    """Store new guests with their configurations and their ports.

    They are wanted running, with the task `scheduling`, on no host yet. Raises `Conflict` when an id exists, or an address is taken.
    """
    try:
        values = [guest_rows.new_row(one) for one in new]
        rows = connection.execute(_CREATE, values if len(new) > 1 else values[0]).all()
        guest_configs.keep_all(connection, [(one.id, one.config) for one in new if one.config is not None])
        guest_events.begin_all(connection, [(one.id, one.by) for one in new if one.by is not None], "create")
    except sa.exc.IntegrityError as error:
        raise Conflict(f"guest {new[0].id} exists already" if len(new) == 1 else "one of the guests exists already") from error
    ports.create_all(connection, [(one.id, one.ports) for one in new])
    made = {guest_id: (created, updated) for guest_id, created, updated in rows}
    return tuple([guest_rows.new_record(one, *made[one.id]) for one in new])


def create_adopted(connection: sa.Connection, new: NewGuest, desired: Desired, pause: Pause) -> None:
    """Store a guest whose domain an agent is to take over: it has booted already. See `create`.

    A guest that was deleted, or not adopted after all, gives way to it. Raises `Conflict` when there is another one with that id.
    """
    old = find(connection, new.id)
    if old is not None:
        claimed = connection.execute(sa.select(claim.c.id).where(claim.c.guest == new.id).limit(1)).first() is not None
        if claimed or (old.deleted is None and not (old.adopted and old.host is None)):
            raise Conflict(f"guest {new.id} is server {old.name} already, or is leaving the service at this moment")
        connection.execute(guest.delete().where(guest.c.id == new.id))
    create(connection, new)
    _change(connection, guest.c.id == new.id, new.id, task=ADOPTING, desired=desired.value, pause=pause.value, booted=1)


def forget_adopted(connection: sa.Connection, guest_id: GuestId) -> None:
    """Delete the row of a guest that is on no host and is not adopted after all."""
    connection.execute(guest.delete().where(guest.c.id == guest_id, guest.c.task == ADOPTING, guest.c.host.is_(None)))


def place_adopted(connection: sa.Connection, guest_id: GuestId, host: HostId) -> None:
    """Set the host of a guest whose domain an agent is to take over, after its claim is held. Raises `Conflict` when it is gone or
    unwanted by now.
    """
    _change(connection, sa.and_(guest.c.id == guest_id, guest.c.task == ADOPTING, guest.c.deleted.is_(None)), guest_id, host=host)


def place(connection: sa.Connection, guest_id: GuestId, host: HostId) -> None:
    """Set the guest's host, whose agent is to start it, after its claim is held. Raises `Conflict` when the guest is gone or unwanted by
    now.
    """
    if connection.execute(PLACE, {"guest_id": guest_id, "host": host}).rowcount != 1:
        raise Conflict(f"guest {guest_id} is gone, or is not wanted any more")


def place_all(connection: sa.Connection, ids: Sequence[GuestId], host: HostId) -> None:
    """Set the host of these guests as `place` does. Raises `Conflict` if one of them is gone or unwanted by now; then roll back."""
    if connection.execute(_PLACE_ALL, {"guest_ids": list(ids), "host": host}).rowcount != len(ids):
        raise Conflict(f"one of {len(ids)} guests is gone, or is not wanted any more")


def want(
    connection: sa.Connection,
    guest_id: GuestId,
    desired: Desired,
    *,
    task: str,
    reboot: bool = False,
    pause: Pause = Pause.NONE,
    revision: int | None = None,
) -> GuestRecord:
    """Change what the user wants, with the task that lasts until the agent reports; `reboot` asks for one more boot. A guest that is paused
    goes on, unless `pause` says otherwise.

    It notifies the host's agent. Raises `Conflict` when the guest is deleted, when it is already wanted absent (and now is not), or when it
    is not at the given revision.
    """
    conditions = [guest.c.id == guest_id, guest.c.deleted.is_(None)]
    if desired is not Desired.ABSENT:
        conditions.append(guest.c.desired != Desired.ABSENT.value)
    if revision is not None:
        conditions.append(guest.c.revision == revision)
    boots = {"boots": guest.c.boots + 1} if reboot else {}
    # Lock the host's row before the guest's, as a claim does: the other order could deadlock.
    host = _host(connection, guest_id)
    while True:
        if host is not None:
            hosts.bump(connection, host, ledger=False)
        there = guest.c.host.is_(None) if host is None else guest.c.host == host
        try:
            return _change(connection, sa.and_(there, *conditions), guest_id, desired=desired.value, task=task, pause=pause.value, **boots)
        except Conflict:
            now = _host(connection, guest_id)
            if now == host:
                raise
            host = now


def rebuild(connection: sa.Connection, found: GuestRecord, new: Rebuild, desired: Desired) -> GuestRecord:
    """Ask for a new disk of a guest, with one boot more, and change what the guest is with it. It then runs or is stopped, as desired, and
    its error is over. Raises `Conflict` when the guest has changed since it was read.
    """
    guest_id = found.id
    want(connection, guest_id, desired, task=REBUILDING, reboot=True, revision=found.revision)
    if found.config_drive:
        guest_configs.forget(connection, guest_id)
    if new.config is not None:
        guest_configs.keep(connection, guest_id, new.config)
    details = {**dict(found.details), **dict(new.details), REBUILD: str(found.boots + 1), RESET: None}
    values = {
        "image": new.image,
        "request": guest_rows.request_text(new.request),
        "details": encode(tuple(sorted((key, value) for key, value in details.items() if value))),
        "fault": "",
    }
    optional = {"name": new.name, "description": new.description, "properties": None if new.metadata is None else encode(new.metadata)}
    return _note(connection, guest_id, **values, **{key: value for key, value in optional.items() if value is not None})


def rebuilt(connection: sa.Connection, found: GuestRecord) -> None:
    """Note that the disk of a guest was made anew. Its row must be locked since it was read."""
    _note(connection, found.id, details=encode(tuple(pair for pair in found.details if pair[0] != REBUILD)))


def observe(
    connection: sa.Connection,
    guest_id: GuestId,
    observed: Observed,
    *,
    host: HostId,
    booted: int | None = None,
    report: str | None = None,
    done: bool = True,
) -> GuestRecord:
    """Store what the agent of `host` saw. `done` ends the task; `booted` is the last requested boot that the agent performed.

    The launch time is set when the guest first runs. Raises `Conflict` when the guest is not on that host, or no longer.
    """
    values: dict[str, Any] = {"observed": observed.value}
    if done:
        values["task"] = ""
    if booted is not None:
        values["booted"] = booted
    if report is not None:
        values["report"] = report
    if observed is Observed.RUNNING:
        values["launched"] = sa.func.coalesce(guest.c.launched, EpochNow())
    return _change(connection, sa.and_(guest.c.id == guest_id, guest.c.host == host, guest.c.deleted.is_(None)), guest_id, **values)


def fail(connection: sa.Connection, guest_id: GuestId, fault: Fault) -> None:
    """Put the guest in error and end its task. The fault's time is set here; the claim stays. Raises `Conflict` when it is deleted."""
    now = float(connection.execute(sa.select(EpochNow())).scalar_one())
    text = encode(replace(fault, created=now))
    guest_events.end(connection, guest_id, fault.message)
    _change(connection, sa.and_(guest.c.id == guest_id, guest.c.deleted.is_(None)), guest_id, task="", fault=text)


def mend(connection: sa.Connection, guest_id: GuestId) -> None:
    """Clear the guest's error."""
    _change(connection, sa.and_(guest.c.id == guest_id, guest.c.deleted.is_(None)), guest_id, fault="")


def reset(connection: sa.Connection, guest_id: GuestId, details: Pairs, *, end: bool) -> None:
    """Clear the guest's error, and with `end` end its task without waiting for its agent. Raises `Conflict` when it is deleted."""
    if not end:
        _note(connection, guest_id, fault="", details=encode(details))
        return
    _note(connection, guest_id, fault="", task="", details=encode(details))
    guest_events.end(connection, guest_id, "an administrator reset the server's state")


def displace(connection: sa.Connection, guest_id: GuestId, *, host: HostId, task: str) -> None:
    """Take the guest off that host, on which nothing of it runs. With the task `scheduling`, it is to be claimed for again.

    Raises `Conflict` when it is on another host, or on none, by now.
    """
    _change(
        connection,
        sa.and_(guest.c.id == guest_id, guest.c.host == host, guest.c.deleted.is_(None)),
        guest_id,
        host=None,
        observed=Observed.UNSEEN.value,
        report="",
        task=task,
        pause=Pause.NONE.value,
    )


def note_failed_start(connection: sa.Connection, guest_id: GuestId, failed: FailedStart) -> GuestRecord:
    """Add a host on which the guest's start failed. Raises `Conflict` when the guest is deleted."""
    known = {one.host: one for one in hold(connection, guest_id).failed_on} | {failed.host: failed}
    return _note(connection, guest_id, failed_on=guest_rows.collection_text(tuple(known[host] for host in sorted(known))))


def note_refusals(connection: sa.Connection, guest_id: GuestId, refusals: tuple[Refusal, ...]) -> None:
    """Store which hosts refused before one took the guest. Raises `Conflict` when the guest is deleted."""
    _note(connection, guest_id, refusals=guest_rows.collection_text(refusals))


def note_move(connection: sa.Connection, guest_id: GuestId, move: Move) -> None:
    """Store the last move of the guest's claim. Raises `Conflict` when the guest is deleted."""
    _note(connection, guest_id, moved=encode(move))


def remove(connection: sa.Connection, guest_id: GuestId) -> None:
    """Mark the guest deleted, and forget its configuration and its ports; the row stays readable for a while.

    Raises `Conflict` while a live claim of it pins anything."""
    for found in claims.all_live(connection, guest_id):
        if found.state is not ClaimState.RELEASING:
            raise Conflict(f"guest {guest_id} still has a claim on host {found.host}")
    unwanted = Desired.ABSENT.value
    values = {"deleted": EpochNow(), "desired": unwanted, "observed": unwanted, "task": "", "host": None}
    gone = _change(connection, guest.c.id == guest_id, guest_id, **values)
    if gone.request.nics:
        ports.forget(connection, guest_id)  # before the events: those of ports end with them
    guest_events.end(connection, guest_id)
    console_tokens.forget(connection, guest_id)
    if gone.config_drive:
        guest_configs.forget(connection, guest_id)


def edit(
    connection: sa.Connection,
    guest_id: GuestId,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: Pairs | None = None,
    details: Pairs | None = None,
) -> GuestRecord:
    """Change the guest's name and description; None leaves them unchanged. Raises `Conflict` when it is deleted."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = name
    if description is not None:
        values["description"] = description
    if metadata is not None:
        values["properties"] = encode(metadata)
    if details is not None:
        values["details"] = encode(details)
    return _change(connection, sa.and_(guest.c.id == guest_id, guest.c.deleted.is_(None)), guest_id, **values)


def count_interfaces(connection: sa.Connection, guest_id: GuestId, nics: int) -> None:
    """Store how many interfaces the guest has. Raises `Conflict` when it is deleted, or wanted absent."""
    found = hold(connection, guest_id)
    wanted = sa.and_(guest.c.id == guest_id, guest.c.deleted.is_(None), guest.c.desired != Desired.ABSENT.value)
    _change(connection, wanted, guest_id, request=encode(replace(found.request, nics=nics)))


def purge(connection: sa.Connection, older_than_seconds: float) -> int:
    """Delete the rows of guests that were deleted that long ago and have no claim. Returns how many."""
    claimed = sa.select(claim.c.id).where(claim.c.guest == guest.c.id).exists()
    return connection.execute(guest.delete().where(guest.c.deleted < EpochNow() - older_than_seconds, ~claimed)).rowcount


def get(connection: sa.Connection, guest_id: GuestId) -> GuestRecord:
    """One guest, including deleted ones. Raises `InvalidRequest` when there is none."""
    found = find(connection, guest_id)
    if found is None:
        raise _no_such(guest_id)
    return found


def hold(connection: sa.Connection, guest_id: GuestId) -> GuestRecord:
    """One guest, including deleted ones, locked against changes until this transaction ends.

    Use it to read what a change depends on. Raises `InvalidRequest` when there is none.
    """
    found = _read(connection, _HOLD, guest_id)
    if found is None:
        raise _no_such(guest_id)
    return found


def find(connection: sa.Connection, guest_id: GuestId) -> GuestRecord | None:
    """One guest, including deleted ones, or None."""
    return _read(connection, _FIND, guest_id)


def page(
    connection: sa.Connection,
    wanted: GuestFilter = _THERE,
    *,
    keep: Callable[[GuestRecord], bool] | None = None,
    marker: str | None = None,
    limit: int | None = None,
) -> tuple[GuestRecord, ...]:
    """The matching guests, newest first, at most `limit`, after the guest with the id `marker`. Raises `InvalidRequest`.

    `keep` is a test that the database cannot do. The guests that it refuses do not count; they are read in few statements, and no more of
    them than it takes to find `limit` others.
    """
    conditions, order = conditions_of(wanted), (guest.c.created.desc(), guest.c.id.desc())
    if marker is not None:
        after = connection.execute(sa.select(guest.c.created, guest.c.id).where(guest.c.id == marker)).first()
        if after is None:
            raise InvalidRequest(f"marker {marker}: no such guest", key="marker")
        conditions.append(_follows(after[0], after[1]))
    if wanted.name is None and wanted.name_has is None:
        query = sa.select(guest).where(*conditions).order_by(*order)
        if keep is None or limit is None:
            rows = connection.execute(query.limit(limit)).mappings()
            return tuple([found for found in map(guest_rows.record, rows) if keep is None or keep(found)])
        return tuple(islice(filter(keep, _by_chunks(connection, query, limit)), limit))
    # Read only names first, from their index: a row is large, and most rows do not match.
    test, names_first = name_test(wanted), sa.select(guest.c.id, guest.c.name).where(*conditions).order_by(*order)
    most = limit if keep is None else None
    if test is None:
        ids = [row[0] for row in connection.execute(names_first.limit(most))]
    else:
        ids = list(islice((row[0] for row in connection.execute(names_first) if test(row[1])), most))
    return tuple(islice(filter(keep, _in_order(connection, ids)) if keep else _in_order(connection, ids), limit))


def orders(connection: sa.Connection, host: HostId) -> tuple[tuple[GuestRecord, ClaimRecord], ...]:
    """The guests for which the host's agent is responsible: all with a held claim there, ordered by id. Use a connection of
    `Database.read`.
    """
    held = {one.guest: one for one in claims.of_host(connection, host, ClaimState.HELD) if one.role is ClaimRole.RUNS}
    rows = connection.execute(sa.select(guest).where(guest.c.host == host, guest.c.deleted.is_(None)).order_by(guest.c.id)).mappings()
    return tuple((guest_rows.record(row), held[row["id"]]) for row in rows if row["id"] in held)


def thread_reports(connection: sa.Connection, host: HostId) -> tuple[tuple[GuestId, str], ...]:
    """`(guest id, report)` of each guest on that host that runs or is paused and whose agent reported its threads."""
    active = guest.c.observed.in_((Observed.RUNNING.value, Observed.PAUSED.value))
    chosen = sa.select(guest.c.id, guest.c.report).where(guest.c.host == host, active, guest.c.report != "", guest.c.deleted.is_(None))
    return tuple((row[0], row[1]) for row in connection.execute(chosen))


def interrupted(connection: sa.Connection, idle_seconds: float, *, task: str = SCHEDULING, limit: int = 100) -> tuple[GuestRecord, ...]:
    """Guests that no process is scheduling any more: that task, no live claim, unchanged for that long."""
    query = sa.select(guest).where(guest.c.task == task, guest.c.deleted.is_(None), ~_HAS_LIVE_CLAIM)
    idle = sa.func.abs(EpochNow() - guest.c.updated) >= idle_seconds  # a time in the future (the clock was set back) is old too
    rows = connection.execute(query.where(idle).order_by(guest.c.id).limit(limit)).mappings()
    return tuple(guest_rows.record(row) for row in rows)


def unclaimed(connection: sa.Connection, limit: int = 100) -> tuple[GuestRecord, ...]:
    """Guests that are wanted absent and have no live claim: nothing is left to wait for."""
    query = sa.select(guest).where(guest.c.desired == Desired.ABSENT.value, guest.c.deleted.is_(None), ~_HAS_LIVE_CLAIM)
    return tuple(guest_rows.record(row) for row in connection.execute(query.order_by(guest.c.id).limit(limit)).mappings())


def names(connection: sa.Connection, ids: Iterable[str]) -> dict[str, str]:
    """The name of each of those guests that exists."""
    rows = connection.execute(sa.select(guest.c.id, guest.c.name).where(guest.c.id.in_(list(ids))))
    return {row[0]: row[1] for row in rows}


def _read(connection: sa.Connection, query: sa.Select[Any], guest_id: GuestId) -> GuestRecord | None:
    row = connection.execute(query, {"guest_id": guest_id}).mappings().first()
    return None if row is None else guest_rows.record(row)


def _no_such(guest_id: GuestId) -> InvalidRequest:
    return InvalidRequest(f"guest {guest_id}: no such guest")


def _host(connection: sa.Connection, guest_id: GuestId) -> HostId | None:
    return connection.execute(sa.select(guest.c.host).where(guest.c.id == guest_id)).scalar_one_or_none()


def _in_order(connection: sa.Connection, ids: list[GuestId]) -> Iterator[GuestRecord]:
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        rows = connection.execute(sa.select(guest).where(guest.c.id.in_(chunk))).mappings()
        found = {row["id"]: guest_rows.record(row) for row in rows}
        yield from (found[guest_id] for guest_id in chunk)


def _by_chunks(connection: sa.Connection, query: sa.Select[Any], limit: int) -> Iterator[GuestRecord]:
    """The guests of a query, newest first. The first chunk is smaller: it is often enough."""
    size, rest = max(limit, _AT_FIRST), query
    while True:
        rows = connection.execute(rest.limit(size)).mappings().all()
        yield from map(guest_rows.record, rows)
        if len(rows) < size:
            return
        size, rest = max(limit, _AT_ONCE), query.where(_follows(rows[-1]["created"], rows[-1]["id"]))


def _follows(created: float, guest_id: str) -> sa.ColumnElement[bool]:
    """Whether a guest comes after another in a listing, newest first."""
    return sa.or_(guest.c.created < created, sa.and_(guest.c.created == created, guest.c.id < guest_id))


def _note(connection: sa.Connection, guest_id: GuestId, **values: str) -> GuestRecord:
    return _change(connection, sa.and_(guest.c.id == guest_id, guest.c.deleted.is_(None)), guest_id, **values)


def _change(connection: sa.Connection, condition: Any, guest_id: GuestId, **values: Any) -> GuestRecord:
    query = guest.update().where(condition).values(**values, revision=guest.c.revision + 1, updated=EpochNow()).returning(guest)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise Conflict(f"guest {guest_id} is gone, or has changed meanwhile")
    return guest_rows.record(row)
