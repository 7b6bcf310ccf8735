"""The tables. `migrations/` holds the steps that created them.

Times are seconds since the epoch by the database's clock. `core.encoding` writes the text columns that hold values of `core`.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = sa.String(36)
_NAME = sa.String(255)
_TIME: sa.Double[float] = sa.Double()

host = sa.Table(
    "host",
    metadata,
    sa.Column("id", _ID, primary_key=True, comment="also the id of its resource provider"),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="counts the changes that a fit depends on"),
    sa.Column("orders", sa.BigInteger, nullable=False, comment="counts the changes that its agent has to hear of"),
    sa.Column("topology", sa.Text, nullable=False),
    sa.Column("pools", sa.Text, nullable=False),
    sa.Column("pool_order", sa.Text, nullable=False, server_default="", comment="the pools that its agent is to use; empty for its files'"),
    sa.Column("repin", sa.Text, nullable=False, server_default="", comment="how far the last re-pin of its guests is; empty for none"),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("foreigners", sa.Text, nullable=False),
    sa.Column("strategy", sa.String(16), nullable=False),
    sa.Column("disk_gib", sa.BigInteger),
    sa.Column("facts", sa.Text, nullable=False, comment="what the agent tells of itself and the hypervisor"),
    sa.Column("networks", sa.Text, nullable=False, server_default="", comment="the networks that it offers; empty for none"),
    sa.Column(
        "features", sa.Text, nullable=False, server_default="", comment="what guests can have there that not every host has; empty for none"
    ),
    sa.Column(
        "processor_traits", sa.Text, comment="the traits of the processor that guests get there; null where its agent reports none of this"
    ),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text, nullable=False),
    sa.Column("fenced", sa.Boolean, nullable=False, comment="an operator vouched that it is powered off"),
    sa.Column("token_hash", sa.String(128), nullable=False),
    sa.Column("lease_until", _TIME, nullable=False),
    sa.Column("heard", _TIME, nullable=False, server_default="0", comment="when its lease began"),
    sa.Column(
        "report_digest",
        sa.String(64),
        nullable=False,
        server_default="",
        comment="the digest of what its agent reported; empty until the next report or heartbeat",
    ),
    sa.Column("audited", _TIME, comment="when its agent last reported its findings; null before that"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.Column("marked", _TIME, nullable=False, server_default="0", comment="when its mark last changed, but for the end of its lease"),
    sa.Index("ix_host_marked", "marked"),
)

guest = sa.Table(
    "guest",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("project", _NAME, nullable=False),
    sa.Column("owner", _NAME, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="counts the changes of this row"),
    sa.Column("desired", sa.String(16), nullable=False),
    sa.Column("observed", sa.String(16), nullable=False),
    sa.Column("pause", sa.String(16), nullable=False, server_default="", comment="how it is to be paused: memory, disk; empty for not"),
    sa.Column("task", sa.String(32), nullable=False),
    sa.Column("boots", sa.BigInteger, nullable=False, comment="boots asked for; a reboot adds one"),
    sa.Column("booted", sa.BigInteger, nullable=False, comment="the last of them that its agent carried out"),
    sa.Column("host", _ID, sa.ForeignKey("host.id")),
    sa.Column("flavor", sa.Text, nullable=False, comment="as it was when the guest was made"),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("image", _NAME, nullable=False),
    sa.Column("properties", sa.Text, nullable=False, comment="the user's metadata"),
    sa.Column("details", sa.Text, nullable=False, comment="what the API keeps for itself"),
    sa.Column("only_on", _ID, nullable=False, server_default="", comment="the only allowed host; empty for any"),
    sa.Column("member_of", sa.Text, nullable=False, server_default="", comment="Placement aggregates, in one of which the host must be"),
    sa.Column("failed_on", sa.Text, nullable=False, server_default="", comment="hosts on which the start failed"),
    sa.Column("refusals", sa.Text, nullable=False, server_default="", comment="hosts that refused before one took it"),
    sa.Column("moved", sa.Text, nullable=False, server_default="", comment="the last move of its claim"),
    sa.Column("report", sa.Text, nullable=False, comment="what the agent last saw of its threads"),
    sa.Column("fault", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.Column("launched", _TIME),
    sa.Column("deleted", _TIME),
    sa.Index("ix_guest_host", "host"),
    sa.Index("ix_guest_project", "project"),
    sa.Index("ix_guest_created_id_name", "created", "id", "deleted", "name"),
)

claim = sa.Table(
    "claim",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("guest", _ID, sa.ForeignKey("guest.id"), nullable=False),
    sa.Column("host", _ID, sa.ForeignKey("host.id"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("deadline", _TIME, nullable=False),
    sa.Column("amounts", sa.Text, nullable=False),
    sa.Column("fit", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="the host's revision that it made; 0 before it is held"),
    sa.Column("role", sa.String(16), nullable=False, server_default="runs"),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0", comment="the host's revision at which it was held or moved"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.Column(
        "shapes", sa.BigInteger, nullable=False, server_default="0", comment="the version of the common shapes by which it was decided"
    ),
    sa.CheckConstraint("state IN ('intended', 'held', 'releasing', 'abandoned')", name="state"),
    sa.Index("ix_claim_host_state", "host", "state"),
    sa.Index(
        "uq_claim_live_guest_role",
        "guest",
        "role",
        unique=True,
        sqlite_where=sa.text("state <> 'abandoned'"),
        postgresql_where=sa.text("state <> 'abandoned'"),
    ),
)

pcpu_owner = sa.Table(
    "pcpu_owner",
    metadata,
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
    sa.Column("pcpu", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("guest", _ID, sa.ForeignKey("guest.id"), nullable=False),
    sa.Column("claim", _ID, sa.ForeignKey("claim.id"), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Index("ix_pcpu_owner_claim", "claim"),
)

flavor = sa.Table(
    "flavor",
    metadata,
    sa.Column("id", _NAME, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("disk_gib", sa.Integer, nullable=False),
    sa.Column("public", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("details", sa.Text, nullable=False, comment="swap, ephemeral disk, rxtx factor: kept for the API, without effect"),
    sa.Column("created", _TIME, nullable=False),
)

flavor_extra_spec = sa.Table(
    "flavor_extra_spec",
    metadata,
    sa.Column("flavor", _NAME, sa.ForeignKey("flavor.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", _NAME, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

guest_config = sa.Table(
    "guest_config",
    metadata,
    sa.Column("guest", _ID, sa.ForeignKey("guest.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("value", sa.Text, nullable=False, comment="secret; deleted when the guest runs"),
)

port = sa.Table(
    "port",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("guest", _ID, sa.ForeignKey("guest.id", ondelete="CASCADE"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False, comment="the interface's place among the guest's"),
    sa.Column("network", sa.String(63), nullable=False),
    sa.Column("mac", sa.String(17), nullable=False, unique=True),
    sa.Column("mtu", sa.Integer, nullable=False),
    sa.Column("address", sa.String(15), comment="null where the guest asks a DHCP server"),
    sa.Column("static", sa.Text, nullable=False, comment="the range that the address is of; empty without an address"),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, server_default="", comment="what is under way with its interface; empty for nothing"),
    sa.Column("event", sa.Integer, comment="the number of the event that asked for that; null for nothing"),
    sa.UniqueConstraint("network", "address"),
    sa.Index("ix_port_guest", "guest"),
)

guest_event = sa.Table(
    "guest_event",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("guest", _ID, sa.ForeignKey("guest.id", ondelete="CASCADE"), nullable=False),
    sa.Column("request", sa.String(64), nullable=False, comment="the id of the request that asked for it"),
    sa.Column("action", sa.String(32), nullable=False, comment="what was asked, in Nova's words"),
    sa.Column("account", _NAME, nullable=False),
    sa.Column("project", _NAME, nullable=False),
    sa.Column("host", _NAME, nullable=False, comment="the name of the host that the guest was on; empty for none"),
    sa.Column("began", _TIME, nullable=False),
    sa.Column("ended", _TIME, comment="null while it is under way"),
    sa.Column("failure", sa.Text, nullable=False, comment="why it failed; empty if it did not"),
    sa.Index("ix_guest_event_guest_number", "guest", "number"),
    sqlite_autoincrement=True,
)

key_pair = sa.Table(
    "key_pair",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.UniqueConstraint("account", "name"),
    sqlite_autoincrement=True,
)

quota = sa.Table(
    "quota",
    metadata,
    sa.Column("project", _NAME, primary_key=True),
    sa.Column("instances", sa.Integer, nullable=False, comment="-1 for no limit, as in the other columns"),
    sa.Column("cores", sa.Integer, nullable=False),
    sa.Column("pcpus", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
)

aggregate = sa.Table(
    "aggregate",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", _ID, nullable=False, unique=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("properties", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sqlite_autoincrement=True,
)

aggregate_host = sa.Table(
    "aggregate_host",
    metadata,
    sa.Column("aggregate", sa.Integer, sa.ForeignKey("aggregate.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
)

tombstone = sa.Table(
    "tombstone",
    metadata,
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
    sa.Column("guest", _ID, primary_key=True),
    sa.Column("claim", _ID, primary_key=True, comment="empty in a tombstone of an earlier pinfold"),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="orders up to this revision of the host are void for the guest"),
    sa.Column("buried", sa.BigInteger, nullable=False, server_default="0", comment="the host's revision when the guest went"),
    sa.Column("created", _TIME, nullable=False),
)

common_shapes = sa.Table(
    "common_shapes",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("checked", _TIME, nullable=False, comment="when the guests were last counted"),
    sa.Column("value", sa.Text, nullable=False),
)

finding = sa.Table(
    "finding",
    metadata,
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False, comment="its place in the agent's report"),
    sa.Column("code", sa.String(32), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("since", _TIME, comment="when it was first reported, and ever since; null if older than this column"),
)

host_history = sa.Table(
    "host_history",
    metadata,
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, comment="counts the questions"),
    sa.Column("seconds", sa.Integer, nullable=False, comment="how far back the last question goes"),
    sa.Column("asked", _TIME, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False, comment="the number of the last question with an answer"),
    sa.Column("answer", sa.Text, nullable=False),
)

guest_question = sa.Table(
    "guest_question",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("host", _ID, sa.ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    sa.Column("guest", _ID, nullable=False),
    sa.Column("about", sa.String(16), nullable=False, comment="console-log, diagnostics, console"),
    sa.Column("lines", sa.Integer, nullable=False, comment="how much of a log is asked for; 0 for all"),
    sa.Column(
        "url", sa.Text, nullable=False, server_default="", comment="where the agent connects a console to; empty for its own api_url"
    ),
    sa.Column("asked", _TIME, nullable=False),
    sa.Column("answer", sa.Text, comment="null while there is none"),
    sa.Index("ix_guest_question_host", "host"),
    sqlite_autoincrement=True,
)

console_token = sa.Table(
    "console_token",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("guest", _ID, sa.ForeignKey("guest.id", ondelete="CASCADE"), nullable=False),
    sa.Column("account", sa.String(255), nullable=False, comment="who asked for it"),
    sa.Column("made", _TIME, nullable=False),
    sa.Index("ix_console_token_guest", "guest"),
)

guest_repair = sa.Table(
    "guest_repair",
    metadata,
    sa.Column("guest", _ID, sa.ForeignKey("guest.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("host", _ID, nullable=False, comment="whose agent is asked"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="counts the questions"),
    sa.Column("asked", _TIME, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False, comment="the number of the last question with an answer"),
    sa.Column("result", sa.String(16), nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Index("ix_guest_repair_host", "host"),
)

finding_count = sa.Table(
    "finding_count",
    metadata,
    sa.Column("host", _ID, sa.ForeignKey("host.id"), primary_key=True),
    sa.Column("code", sa.String(32), primary_key=True),
    sa.Column("severity", sa.String(16), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False, comment="with those that the report leaves out"),
)

image_variant = sa.Table(
    "image_variant",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("base", _NAME, nullable=False, comment="the name of the operator's image whose file it has; empty while it waits for one"),
    sa.Column("public", sa.Boolean, nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("disk_format", sa.String(16), nullable=False),
    sa.Column("min_disk_gib", sa.Integer, nullable=False),
    sa.Column("min_ram_mib", sa.Integer, nullable=False),
    sa.Column("properties", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.Index("ix_image_variant_project", "project"),
)

service_key = sa.Table(
    "service_key",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True, comment="what it is for: web-page-sessions"),
    sa.Column("value", sa.String(64), nullable=False, comment="32 random bytes, in hexadecimal"),
)
