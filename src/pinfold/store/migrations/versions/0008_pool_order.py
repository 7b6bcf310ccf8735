"""Keep the pools that a host's agent is to use."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    comment = "the pools that its agent is to use; empty for its files'"
    op.add_column("host", sa.Column("pool_order", sa.Text(), nullable=False, server_default="", comment=comment))
