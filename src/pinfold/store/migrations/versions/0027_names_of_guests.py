"""Put the names of guests into the index by which they are listed: a search by name reads no rows then, and rows are large."""

from alembic import op

revision = "0027"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index anew."""
    op.drop_index("ix_guest_created_id", table_name="guest")
    op.create_index("ix_guest_created_id_name", "guest", ["created", "id", "deleted", "name"], unique=False)
