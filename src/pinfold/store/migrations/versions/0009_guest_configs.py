"""Keep what a new guest is given on its config drive, until it runs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "guest_config",
        sa.Column("guest", sa.String(36), sa.ForeignKey("guest.id", name="fk_guest_config_guest", ondelete="CASCADE"), nullable=False),
        sa.Column("value", sa.Text(), nullable=False, comment="secret; deleted when the guest runs"),
        sa.PrimaryKeyConstraint("guest", name="pk_guest_config"),
    )
