"""Keep what the agents' audits find. Until now it was a sentence in the report of a guest."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.add_column(
        "host",
        sa.Column("audited", sa.Double(), nullable=True, comment="when its agent last reported its findings; null before that"),
    )
    op.create_table(
        "finding",
        sa.Column("host", sa.String(36), sa.ForeignKey("host.id", name="fk_finding_host"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False, comment="its place in the agent's report"),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host", "number", name="pk_finding"),
    )
    op.create_table(
        "finding_count",
        sa.Column("host", sa.String(36), sa.ForeignKey("host.id", name="fk_finding_count_host"), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False, comment="with those that the report leaves out"),
        sa.PrimaryKeyConstraint("host", "code", "severity", name="pk_finding_count"),
    )
