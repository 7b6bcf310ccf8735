"""Keep how a guest is to be paused, and what was asked of it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table."""
    comment = "how it is to be paused: memory, disk; empty for not"
    op.add_column("guest", sa.Column("pause", sa.String(16), nullable=False, server_default="", comment=comment))
    op.create_table(
        "guest_event",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("guest", sa.String(36), sa.ForeignKey("guest.id", name="fk_guest_event_guest", ondelete="CASCADE"), nullable=False),
        sa.Column("request", sa.String(64), nullable=False, comment="the id of the request that asked for it"),
        sa.Column("action", sa.String(32), nullable=False, comment="what was asked, in Nova's words"),
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("project", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False, comment="the name of the host that the guest was on; empty for none"),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), comment="null while it is under way"),
        sa.Column("failure", sa.Text(), nullable=False, comment="why it failed; empty if it did not"),
        sa.PrimaryKeyConstraint("number", name="pk_guest_event"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_guest_event_guest_number", "guest_event", ["guest", "number"])
