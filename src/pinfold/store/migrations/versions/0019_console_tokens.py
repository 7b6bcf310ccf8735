"""Keep the tokens that open consoles, and where an agent connects a console to."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column, and the new word of another one."""
    op.create_table(
        "console_token",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("guest", sa.String(36), sa.ForeignKey("guest.id", name="fk_console_token_guest", ondelete="CASCADE"), nullable=False),
        sa.Column("account", sa.String(255), nullable=False, comment="who asked for it"),
        sa.Column("made", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_console_token"),
    )
    op.create_index("ix_console_token_guest", "console_token", ["guest"])
    op.add_column(
        "guest_question",
        sa.Column(
            "url",
            sa.Text(),
            nullable=False,
            server_default="",
            comment="where the agent connects a console to; empty for its own api_url",
        ),
    )
    if op.get_context().dialect.name == "postgresql":  # SQLite keeps no comments
        op.alter_column(
            "guest_question",
            "about",
            comment="console-log, diagnostics, console",
            existing_comment="console-log, diagnostics",
            existing_type=sa.String(16),
            existing_nullable=False,
        )
