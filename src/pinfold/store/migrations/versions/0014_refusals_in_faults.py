"""Keep the refusals of a guest's fault as refusals. Until now a fault had a sentence and a revision for each host."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give each fault refusals with the sentences that it has."""
    guest = sa.table("guest", sa.column("id"), sa.column("fault"))
    connection = op.get_bind()
    for guest_id, text in connection.execute(sa.select(guest.c.id, guest.c.fault).where(guest.c.fault != "")).all():
        stored = json.loads(text)
        fault = stored["value"]
        revisions = dict(fault.pop("revisions", ()))
        sentences = fault.pop("reasons", ())
        fault["refusals"] = [{"host": host, "revision": revisions.get(host), "sentence": sentence} for host, sentence in sentences]
        connection.execute(guest.update().where(guest.c.id == guest_id).values(fault=json.dumps(stored, separators=(",", ":"))))
