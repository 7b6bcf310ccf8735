"""Keep the networks that hosts offer, and the ports of guests on them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table."""
    networks = sa.Column("networks", sa.Text(), nullable=False, server_default="", comment="the networks that it offers; empty for none")
    op.add_column("host", networks)
    op.create_table(
        "port",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("guest", sa.String(36), sa.ForeignKey("guest.id", name="fk_port_guest", ondelete="CASCADE"), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False, comment="the interface's place among the guest's"),
        sa.Column("network", sa.String(63), nullable=False),
        sa.Column("mac", sa.String(17), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(15), comment="null where the guest asks a DHCP server"),
        sa.Column("static", sa.Text(), nullable=False, comment="the range that the address is of; empty without an address"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_port"),
        sa.UniqueConstraint("mac", name="uq_port_mac"),
        sa.UniqueConstraint("network", "address", name="uq_port_network_address"),
    )
    op.create_index("ix_port_guest", "port", ["guest"])
