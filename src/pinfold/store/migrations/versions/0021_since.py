"""Keep since when each finding has been reported."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "finding",
        sa.Column(
            "since",
            sa.Double(),
            nullable=True,
            comment="when it was first reported, and ever since; null if older than this column",
        ),
    )
