"""Keep how far a re-pin of a host's guests is."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    comment = "how far the last re-pin of its guests is; empty for none"
    op.add_column("host", sa.Column("repin", sa.Text(), nullable=False, server_default="", comment=comment))
