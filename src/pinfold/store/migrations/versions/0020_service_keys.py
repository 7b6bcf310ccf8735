"""Keep keys that all processes of the service share."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "service_key",
        sa.Column("name", sa.String(32), nullable=False, comment="what it is for: web-page-sessions"),
        sa.Column("value", sa.String(64), nullable=False, comment="32 random bytes, in hexadecimal"),
        sa.PrimaryKeyConstraint("name", name="pk_service_key"),
    )
