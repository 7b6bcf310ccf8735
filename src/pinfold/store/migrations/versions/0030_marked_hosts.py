"""Say when the mark of a host last changed, so that a look need not read the marks of all hosts."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time, and an index by it. A process that has just started reads all marks, so what was before needs none."""
    comment = "when its mark last changed, but for the end of its lease"
    op.add_column("host", sa.Column("marked", sa.Double(), nullable=False, server_default="0", comment=comment))
    op.create_index("ix_host_marked", "host", ["marked"])
