"""Create the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "aggregate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aggregate")),
        sa.UniqueConstraint("name", name=op.f("uq_aggregate_name")),
        sa.UniqueConstraint("uuid", name=op.f("uq_aggregate_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "flavor",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False, comment="swap, ephemeral disk, rxtx factor: kept for the API, without effect"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flavor")),
        sa.UniqueConstraint("name", name=op.f("uq_flavor_name")),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.String(length=36), nullable=False, comment="also the id of its resource provider"),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="counts the changes that a fit depends on"),
        sa.Column("orders", sa.BigInteger(), nullable=False, comment="counts the changes that its agent has to hear of"),
        sa.Column("topology", sa.Text(), nullable=False),
        sa.Column("pools", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("foreigners", sa.Text(), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("disk_gib", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False, comment="what the agent tells of itself and the hypervisor"),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        sa.Column("fenced", sa.Boolean(), nullable=False, comment="an operator vouched that it is powered off"),
        sa.Column("token_hash", sa.String(length=128), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("name", name=op.f("uq_host_name")),
    )
    op.create_table(
        "aggregate_host",
        sa.Column("aggregate", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["aggregate"], ["aggregate.id"], name=op.f("fk_aggregate_host_aggregate"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["host"], ["host.id"], name=op.f("fk_aggregate_host_host")),
        sa.PrimaryKeyConstraint("aggregate", "host", name=op.f("pk_aggregate_host")),
    )
    op.create_table(
        "flavor_extra_spec",
        sa.Column("flavor", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["flavor"], ["flavor.id"], name=op.f("fk_flavor_extra_spec_flavor"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flavor", "key", name=op.f("pk_flavor_extra_spec")),
    )
    op.create_table(
        "guest",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="counts the changes of this row"),
        sa.Column("desired", sa.String(length=16), nullable=False),
        sa.Column("observed", sa.String(length=16), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("boots", sa.BigInteger(), nullable=False, comment="boots asked for; a reboot adds one"),
        sa.Column("booted", sa.BigInteger(), nullable=False, comment="the last of them that its agent carried out"),
        sa.Column("host", sa.String(length=36), nullable=True),
        sa.Column("flavor", sa.Text(), nullable=False, comment="as it was when the guest was made"),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("image", sa.String(length=255), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False, comment="the user's metadata"),
        sa.Column("details", sa.Text(), nullable=False, comment="what the API keeps for itself"),
        sa.Column("report", sa.Text(), nullable=False, comment="what the agent last saw of its threads"),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("launched", sa.Double(), nullable=True),
        sa.Column("deleted", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["host"], ["host.id"], name=op.f("fk_guest_host")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guest")),
    )
    op.create_index("ix_guest_created_id", "guest", ["created", "id"], unique=False)
    op.create_index("ix_guest_host", "guest", ["host"], unique=False)
    op.create_table(
        "tombstone",
        sa.Column("host", sa.String(length=36), nullable=False),
        sa.Column("guest", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="orders up to this revision of the host are void for the guest"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["host.id"], name=op.f("fk_tombstone_host")),
        sa.PrimaryKeyConstraint("host", "guest", name=op.f("pk_tombstone")),
    )
    op.create_table(
        "claim",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("guest", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=False),
        sa.Column("amounts", sa.Text(), nullable=False),
        sa.Column("fit", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="the host's revision that it made; 0 before it is held"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('intended', 'held', 'releasing', 'abandoned')", name=op.f("ck_claim_state")),
        sa.ForeignKeyConstraint(["guest"], ["guest.id"], name=op.f("fk_claim_guest")),
        sa.ForeignKeyConstraint(["host"], ["host.id"], name=op.f("fk_claim_host")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim")),
    )
    op.create_index("ix_claim_host_state", "claim", ["host", "state"], unique=False)
    op.create_index(
        "uq_claim_live_guest",
        "claim",
        ["guest"],
        unique=True,
        sqlite_where=sa.text("state <> 'abandoned'"),
        postgresql_where=sa.text("state <> 'abandoned'"),
    )
    op.create_table(
        "pcpu_owner",
        sa.Column("host", sa.String(length=36), nullable=False),
        sa.Column("pcpu", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("guest", sa.String(length=36), nullable=False),
        sa.Column("claim", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["claim"], ["claim.id"], name=op.f("fk_pcpu_owner_claim")),
        sa.ForeignKeyConstraint(["guest"], ["guest.id"], name=op.f("fk_pcpu_owner_guest")),
        sa.ForeignKeyConstraint(["host"], ["host.id"], name=op.f("fk_pcpu_owner_host")),
        sa.PrimaryKeyConstraint("host", "pcpu", name=op.f("pk_pcpu_owner")),
    )
    op.create_index("ix_pcpu_owner_claim", "pcpu_owner", ["claim"], unique=False)


def downgrade() -> None:
    """Drop every table."""

    op.drop_index("ix_pcpu_owner_claim", table_name="pcpu_owner")
    op.drop_table("pcpu_owner")
    op.drop_index(
        "uq_claim_live_guest",
        table_name="claim",
        sqlite_where=sa.text("state <> 'abandoned'"),
        postgresql_where=sa.text("state <> 'abandoned'"),
    )
    op.drop_index("ix_claim_host_state", table_name="claim")
    op.drop_table("claim")
    op.drop_table("tombstone")
    op.drop_index("ix_guest_host", table_name="guest")
    op.drop_index("ix_guest_created_id", table_name="guest")
    op.drop_table("guest")
    op.drop_table("flavor_extra_spec")
    op.drop_table("aggregate_host")
    op.drop_table("host")
    op.drop_table("flavor")
    op.drop_table("aggregate")
