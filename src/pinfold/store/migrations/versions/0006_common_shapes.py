"""Keep the fleet's common shapes, by which hosts are chosen, and with each claim the version on which it was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "common_shapes",
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("checked", sa.Double(), nullable=False, comment="when the guests were last counted"),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_common_shapes"),
    )
    comment = "the version of the common shapes by which it was decided"
    op.add_column("claim", sa.Column("shapes", sa.BigInteger(), nullable=False, server_default="0", comment=comment))
