"""The row of a guest: read into a `GuestRecord`, and made of a `NewGuest`. `guests` has the transactions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from pinfold.core.encoding import decoder, encode
from pinfold.core.fit.written import Refusal
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.store.database import EpochNow
from pinfold.store.records import SCHEDULING, Desired, FailedStart, Fault, GuestRecord, Move, NewGuest, Observed, Pairs, Pause

_read_pairs = decoder(Pairs)
_read_names = decoder(frozenset[str])
_read_failed_starts = decoder(tuple[FailedStart, ...])
_read_refusals = decoder(tuple[Refusal, ...])
_read_move = decoder(Move)
_read_fault = decoder(Fault)
_read_flavor = decoder(Flavor)
_read_request = decoder(GuestRequest)


AT_FIRST: Final[Mapping[str, Any]] = {
    "revision": 1,
    "desired": Desired.RUNNING.value,
    "observed": Observed.UNSEEN.value,
    "task": SCHEDULING,
    "boots": 1,
    "booted": 0,
    "report": "",
    "fault": "",
    "created": EpochNow(),
    "updated": EpochNow(),
}
"""The columns of a new guest that are the same for each."""


def new_row(new: NewGuest) -> dict[str, Any]:
    """The columns of a new guest that depend on it."""
    return {
        "id": new.id,
        "name": new.name,
        "project": new.project,
        "owner": new.owner,
        "description": new.description,
        "flavor": _flavor_text(new.flavor),
        "request": request_text(new.request),
        "image": new.image,
        "properties": encode(new.metadata),
        "details": encode(new.details),
        "only_on": new.only_on,
        "member_of": collection_text(new.member_of),
    }


def new_record(new: NewGuest, created: float, updated: float) -> GuestRecord:
    """The guest of such a row, before anything else has changed it."""
    return GuestRecord(
        id=new.id,
        name=new.name,
        project=new.project,
        owner=new.owner,
        description=new.description,
        revision=AT_FIRST["revision"],
        desired=Desired.RUNNING,
        observed=Observed.UNSEEN,
        task=AT_FIRST["task"],
        boots=AT_FIRST["boots"],
        booted=AT_FIRST["booted"],
        host=None,
        flavor=new.flavor,
        request=new.request,
        image=new.image,
        metadata=new.metadata,
        details=new.details,
        only_on=new.only_on,
        member_of=new.member_of,
        failed_on=(),
        refusals=(),
        moved=None,
        report=AT_FIRST["report"],
        fault=None,
        created=created,
        updated=updated,
        launched=None,
        deleted=None,
    )


def collection_text(value: Collection[object]) -> str:
    """The text of a collection, '' for an empty one."""
    return encode(value) if value else ""


# Many guests have the same flavor: encode and decode its text once.
@lru_cache(maxsize=1024)
def _flavor_text(flavor: Flavor) -> str:
    return encode(flavor)


@lru_cache(maxsize=1024)
def request_text(request: GuestRequest) -> str:
    """The column of a request."""
    return encode(request)


@lru_cache(maxsize=4096)
def _flavor(text: str) -> Flavor:
    return _read_flavor(text, "guest.flavor")


@lru_cache(maxsize=4096)
def _request(text: str) -> GuestRequest:
    return _read_request(text, "guest.request")


def record(row: sa.RowMapping) -> GuestRecord:
    """The guest of a row."""
    where = f"guest {row['id']}"
    return GuestRecord(
        id=row["id"],
        name=row["name"],
        project=row["project"],
        owner=row["owner"],
        description=row["description"],
        revision=row["revision"],
        desired=Desired(row["desired"]),
        observed=Observed(row["observed"]),
        task=row["task"],
        boots=row["boots"],
        booted=row["booted"],
        host=row["host"],
        flavor=_flavor(row["flavor"]),
        request=_request(row["request"]),
        image=row["image"],
        metadata=_read_pairs(row["properties"], where),
        details=_read_pairs(row["details"], where),
        only_on=row["only_on"],
        member_of=_read_names(row["member_of"], where) if row["member_of"] else frozenset(),
        failed_on=_read_failed_starts(row["failed_on"], where) if row["failed_on"] else (),
        refusals=_read_refusals(row["refusals"], where) if row["refusals"] else (),
        moved=_read_move(row["moved"], where) if row["moved"] else None,
        report=row["report"],
        fault=_read_fault(row["fault"], where) if row["fault"] else None,
        created=row["created"],
        updated=row["updated"],
        launched=row["launched"],
        deleted=row["deleted"],
        pause=Pause(row["pause"]),
    )
