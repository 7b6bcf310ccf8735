"""`History`: every host's ledger at each of its revisions, written down by the database itself as it happens.

Triggers of the database keep a row for each revision of a host and for each step of a claim, so that nothing is lost that was released
again, and nothing of the service has to be believed. What is made of it stands in the tests.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pinfold.core.encoding import decoder
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim, Foreign, HostState, Ledger, Limits
from pinfold.core.pools import Pools
from pinfold.core.topology import Topology
from pinfold.store.database import Database

_read_fit = decoder(Fit)
_read_topology = decoder(Topology)
_read_pools = decoder(Pools)
_read_limits = decoder(Limits)
_read_foreign = decoder(tuple[Foreign, ...])

_HOST: Final = "name, revision, topology, pools, limits, foreigners, disk_gib"
_TABLES: Final = (
    f"CREATE TABLE history_host AS SELECT id, {_HOST} FROM host",
    "CREATE TABLE history_claim AS SELECT id, guest, host, state, fit, revision FROM claim WHERE state = 'held'",
)
_KEEP_HOST: Final = f"INSERT INTO history_host SELECT id, {_HOST} FROM host WHERE id = NEW.id"
_KEEP_CLAIM: Final = (
    "INSERT INTO history_claim SELECT NEW.id, NEW.guest, NEW.host, NEW.state, NEW.fit, host.revision FROM host WHERE host.id = NEW.host"
)
_SQLITE: Final = (
    f"CREATE TRIGGER history_host AFTER UPDATE OF revision ON host BEGIN {_KEEP_HOST}; END",
    f"CREATE TRIGGER history_claim AFTER UPDATE ON claim BEGIN {_KEEP_CLAIM}; END",
)
_POSTGRESQL: Final = (
    f"CREATE FUNCTION history_host() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_KEEP_HOST}; RETURN NULL; END $$",
    f"CREATE FUNCTION history_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_KEEP_CLAIM}; RETURN NULL; END $$",
    "CREATE TRIGGER history_host AFTER UPDATE ON host FOR EACH ROW WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION history_host()",
    "CREATE TRIGGER history_claim AFTER UPDATE ON claim FOR EACH ROW EXECUTE FUNCTION history_claim()",
)


class History:
    """Kept from now on."""

    def __init__(self, url: str) -> None:
        database = Database(url)
        try:
            with database.write() as connection:
                for statement in (*_TABLES, *(_POSTGRESQL if database.postgresql else _SQLITE)):
                    connection.execute(sa.text(statement))
        finally:
            database.close()

    def read(self, connection: sa.Connection) -> dict[tuple[str, int], HostState]:
        """Every host as it was, by name and revision.

        A transaction counts the revision up first, and then changes the claim: so a claim is in the ledger from the revision at which it is
        held to the one before it is releasing.
        """
        steps: dict[str, list[sa.RowMapping]] = {}
        for step in connection.execute(sa.text("SELECT id, guest, host, state, fit, revision FROM history_claim")).mappings():
            steps.setdefault(step["host"], []).append(step)
        found = {}
        for row in connection.execute(sa.text(f"SELECT id, {_HOST} FROM history_host")).mappings():
            found[row["name"], row["revision"]] = _state(row, steps.get(row["id"], []))
        return found


def _state(row: sa.RowMapping, steps: list[sa.RowMapping]) -> HostState:
    ended = {step["id"] for step in steps if step["state"] == "releasing" and step["revision"] <= row["revision"]}
    past = [step for step in steps if step["state"] == "held" and step["revision"] <= row["revision"]]
    held = {step["guest"]: step["fit"] for step in past if step["id"] not in ended}
    recorded = tuple(Claim(guest=guest, fit=_read_fit(fit, "claim")) for guest, fit in sorted(held.items()))
    return HostState(
        topology=_read_topology(row["topology"], "host"),
        pools=_read_pools(row["pools"], "host"),
        limits=_read_limits(row["limits"], "host"),
        ledger=Ledger(claims=recorded, foreign=_read_foreign(row["foreigners"], "host")),
        disk_gib=row["disk_gib"],
        revision=row["revision"],
        name=row["name"],
    )
