"""Keep the features of a host: what guests can have there that not every host has. A host has none until its agent reports them."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    comment = "what guests can have there that not every host has; empty for none"
    op.add_column("host", sa.Column("features", sa.Text(), nullable=False, server_default="", comment=comment))
