"""Keep how much each project may have, and find the guests of a project."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the index."""
    op.create_table(
        "quota",
        sa.Column("project", sa.String(255), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False, comment="-1 for no limit, as in the other columns"),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("pcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_quota"),
    )
    op.create_index("ix_guest_project", "guest", ["project"])
