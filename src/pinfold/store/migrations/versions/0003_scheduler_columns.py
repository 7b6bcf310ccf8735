"""Give what the scheduler keeps of a guest columns of its own. Until now it was among the details, which are for the Compute API."""

import json
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FAILED_ON = "failed_on:"


def upgrade() -> None:
    """Add the columns, and move the scheduler's details into them."""
    op.add_column(
        "guest", sa.Column("only_on", sa.String(36), nullable=False, server_default="", comment="the only allowed host; empty for any")
    )
    for name, comment in (
        ("member_of", "Placement aggregates, in one of which the host must be"),
        ("failed_on", "hosts on which the start failed"),
        ("refusals", "hosts that refused before one took it"),
        ("moved", "the last move of its claim"),
    ):
        op.add_column("guest", sa.Column(name, sa.Text(), nullable=False, server_default="", comment=comment))
    guest = sa.table("guest", *(sa.column(name) for name in ("id", "details", "only_on", "member_of", "failed_on", "refusals", "moved")))
    connection = op.get_bind()
    for guest_id, text in connection.execute(sa.select(guest.c.id, guest.c.details)).all():
        values = _split(text)
        if values:
            connection.execute(guest.update().where(guest.c.id == guest_id).values(values))


def _split(text: str) -> dict[str, str]:
    """The columns of a guest, from the text of its details; none if the scheduler has nothing there."""
    details = dict(json.loads(text)["value"])
    failed = [(key.removeprefix(_FAILED_ON), *details.pop(key).partition(": ")) for key in sorted(details) if key.startswith(_FAILED_ON)]
    refused = [line.partition(" ") for line in details.pop("refused", "").splitlines()]
    values = {
        "only_on": details.pop("only_on", ""),
        "member_of": _text(sorted(filter(None, details.pop("member_of", "").split(",")))),
        "failed_on": _text([{"host": host, "name": name, "sentence": sentence} for host, name, _, sentence in failed]),
        "refusals": _text([_refusal(int(at), *told.partition(": ")) for at, _, told in refused]),
        "moved": details.pop("moved", ""),
    }
    values = {name: value for name, value in values.items() if value}
    return values and {**values, "details": _text(sorted(details.items()), even_empty=True)}


def _refusal(revision: int, host: str, _: str, sentence: str) -> dict[str, object]:
    return {"host": host, "revision": revision, "sentence": sentence}


def _text(value: Sequence[object], *, even_empty: bool = False) -> str:
    """A column's text in version 1 of the stored form; '' for an empty list."""
    return json.dumps({"v": 1, "value": value}, separators=(",", ":"), sort_keys=True) if value or even_empty else ""
