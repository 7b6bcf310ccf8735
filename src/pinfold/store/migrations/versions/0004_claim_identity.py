"""Give claims a role, and tombstones the id of their claim. A guest may now have several live claims, one of each role.

Claims had ids before. Only what was written outside of the database lacks them, and is compared by the claim's revision: that is `held`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and widen the keys."""
    held = sa.Column(
        "held", sa.BigInteger(), nullable=False, server_default="0", comment="the host's revision at which it was held or moved"
    )
    op.add_column("claim", sa.Column("role", sa.String(16), nullable=False, server_default="runs"))
    op.add_column("claim", held)
    op.execute("UPDATE claim SET held = revision")
    op.drop_index("uq_claim_live_guest", table_name="claim")
    live = sa.text("state <> 'abandoned'")
    op.create_index("uq_claim_live_guest_role", "claim", ["guest", "role"], unique=True, sqlite_where=live, postgresql_where=live)
    claim = sa.Column("claim", sa.String(36), nullable=False, server_default="", comment="empty in a tombstone of an earlier pinfold")
    with op.batch_alter_table("tombstone") as batch:
        batch.add_column(claim)
        batch.drop_constraint("pk_tombstone", type_="primary")
        batch.create_primary_key("pk_tombstone", ["host", "guest", "claim"])
