"""Keep what operators ask agents to repair, and the answers."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "guest_repair",
        sa.Column("guest", sa.String(36), sa.ForeignKey("guest.id", name="fk_guest_repair_guest", ondelete="CASCADE"), nullable=False),
        sa.Column("host", sa.String(36), nullable=False, comment="whose agent is asked"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="counts the questions"),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False, comment="the number of the last question with an answer"),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("guest", name="pk_guest_repair"),
    )
    op.create_index("ix_guest_repair_host", "guest_repair", ["host"])
