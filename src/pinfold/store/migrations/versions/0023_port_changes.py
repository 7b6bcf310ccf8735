"""Keep what is under way with the interface of a port."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    state = "what is under way with its interface; empty for nothing"
    op.add_column("port", sa.Column("state", sa.String(16), nullable=False, server_default="", comment=state))
    event = "the number of the event that asked for that; null for nothing"
    op.add_column("port", sa.Column("event", sa.Integer(), nullable=True, comment=event))
