"""Make leases and tombstones independent of clock jumps: store a lease's begin, and the revision at which a guest was buried.

After this upgrade a host is down until its next heartbeat.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("host", sa.Column("heard", sa.Double(), nullable=False, server_default="0", comment="when its lease began"))
    buried = sa.Column("buried", sa.BigInteger(), nullable=False, server_default="0", comment="the host's revision when the guest went")
    op.add_column("tombstone", buried)
