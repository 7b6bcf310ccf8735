"""Keep what is asked of agents about single guests, and the answers until they are read."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "guest_question",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(36), sa.ForeignKey("host.id", name="fk_guest_question_host", ondelete="CASCADE"), nullable=False),
        sa.Column("guest", sa.String(36), nullable=False),
        sa.Column("about", sa.String(16), nullable=False, comment="console-log, diagnostics"),
        sa.Column("lines", sa.Integer(), nullable=False, comment="how much of a log is asked for; 0 for all"),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("answer", sa.Text(), comment="null while there is none"),
        sa.PrimaryKeyConstraint("number", name="pk_guest_question"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_guest_question_host", "guest_question", ["host"])
