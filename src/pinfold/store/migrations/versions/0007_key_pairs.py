"""Keep key pairs: the public keys that accounts give to their servers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "key_pair",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_pair"),
        sa.UniqueConstraint("account", "name", name="uq_key_pair_account_name"),
        sqlite_autoincrement=True,
    )
