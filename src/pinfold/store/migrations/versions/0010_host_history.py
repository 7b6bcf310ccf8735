"""Keep what is asked of an agent about the last hour of its host, and its answer."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "host_history",
        sa.Column("host", sa.String(36), sa.ForeignKey("host.id", name="fk_host_history_host"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="counts the questions"),
        sa.Column("seconds", sa.Integer(), nullable=False, comment="how far back the last question goes"),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False, comment="the number of the last question with an answer"),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_host_history"),
    )
