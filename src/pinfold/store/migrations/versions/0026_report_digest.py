"""Keep the digest of a host's report, so that the answer to a poll can name it."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "host",
        sa.Column(
            "report_digest",
            sa.String(64),
            nullable=False,
            server_default="",
            comment="the digest of what its agent reported; empty until the next report or heartbeat",
        ),
    )
