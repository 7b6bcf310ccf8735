"""Keep the traits of the processor that guests of a host get. They are not known until its agent reports them."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    comment = "the traits of the processor that guests get there; null where its agent reports none of this"
    op.add_column("host", sa.Column("processor_traits", sa.Text(), comment=comment))
