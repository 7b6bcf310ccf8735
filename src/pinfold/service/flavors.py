"""What users do with flavors. `core.request` defines the meaning of extra specs."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict, InvalidRequest, LimitReached, NotFound, not_found
from pinfold.core.request.model import Flavor, Image
from pinfold.core.request.promises import refuse_unkept
from pinfold.core.request.vet import vet_extra_spec
from pinfold.store import flavors
from pinfold.store.database import Database
from pinfold.store.records import FlavorRecord

MOST_SPECS: Final = 128
_MOST_PROJECTS: Final = 128
_SPEC_KEY: Final = re.compile(r"[a-zA-Z0-9_\-.: ]{1,255}")
_LONGEST_VALUE: Final = 255
_MOST_REMEMBERED: Final = 64
"""So many flavors that were read last are remembered."""


class Flavors:
    """The service's flavors. Safe to share between threads. Every method raises `NotFound` for a flavor that does not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: OrderedDict[str, FlavorRecord] = OrderedDict()
        self._lock = threading.Lock()

    def create(self, new: FlavorRecord) -> FlavorRecord:
        """Store a flavor. Raises `Conflict` when its name or id exists."""
        with self._database.write() as connection:
            return flavors.create(connection, new)

    def get(self, flavor_id: str) -> FlavorRecord:
        """One flavor by its id; a name is no id."""
        with self._database.read() as connection:
            found = flavors.find(connection, flavor_id)
        if found is None:
            raise not_found("Flavor", flavor_id)
        return found

    def remembered(self, flavor_id: str) -> FlavorRecord | None:
        """A flavor as `newest` read it some time ago; None if it did not. Another process may have changed it: who stores something that
        was made of it says so (`NewGuest.seen_flavor`).
        """
        return self._remembered.get(flavor_id)

    def newest(self, flavor_id: str) -> FlavorRecord | None:
        """A flavor as it is now, which is remembered from now on; None if there is none. Raises `Unavailable`."""
        with self._database.read_once() as connection:
            found = flavors.find(connection, flavor_id)
        with self._lock:
            self._remembered.pop(flavor_id, None)
            if found is not None:
                self._remembered[flavor_id] = found
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def describe(self, flavor_id: str, description: str | None) -> FlavorRecord:
        """Change a flavor's description."""
        with self._database.write() as connection:
            if not flavors.describe(connection, flavor_id, description):
                raise not_found("Flavor", flavor_id)
        return self.get(flavor_id)

    def remove(self, flavor_id: str) -> None:
        """Forget a flavor; guests keep what they were made of."""
        with self._database.write() as connection:
            if not flavors.remove(connection, flavor_id):
                raise not_found("Flavor", flavor_id)

    def grant(self, flavor_id: str, project: str) -> FlavorRecord:
        """Give a flavor that is not public to a project. Raises `Conflict` when the project has it or the flavor is public."""
        with self._held(flavor_id) as (connection, row):
            if row.public:
                raise Conflict("Can not add access to a public flavor.")
            known = flavors.projects(row)
            if project in known:
                raise Conflict(f"Flavor access already exists for flavor {flavor_id} and project {project} combination.")
            if len(known) >= _MOST_PROJECTS:
                raise LimitReached(f"Flavor {flavor_id}: at most {_MOST_PROJECTS} projects may be given access")
            return flavors.give(connection, flavor_id, tuple(sorted((*known, project))))

    def revoke(self, flavor_id: str, project: str) -> FlavorRecord:
        """Take a flavor that is not public back from a project. Raises `NotFound` when the project does not have it."""
        with self._held(flavor_id) as (connection, row):
            if row.public:
                raise Conflict("Can not remove access of a public flavor.")
            known = flavors.projects(row)
            if project not in known:
                raise NotFound(f"Flavor access not found for {flavor_id} / {project} combination.")
            return flavors.give(connection, flavor_id, tuple(one for one in known if one != project))

    def set_extra_specs(self, flavor_id: str, specs: dict[str, str]) -> None:
        """Add or replace extra specs. Each must be known and its value allowed; their combination is checked when a guest is created."""
        for key, value in specs.items():
            if not _SPEC_KEY.fullmatch(key) or len(value) > _LONGEST_VALUE:
                raise InvalidRequest(
                    f"extra spec {key[:64]!r}: keys and values have at most 255 characters, keys of letters, digits, blanks and _-.:",
                    key=key,
                )
            vet_extra_spec(key, value)
            refuse_unkept(Flavor(vcpus=1, memory_mib=1, extra_specs=((key, value),)), Image())
        with self._held(flavor_id) as (connection, row):
            if len({*dict(row.flavor.extra_specs), *specs}) > MOST_SPECS:
                raise InvalidRequest(f"Flavor {flavor_id}: more than {MOST_SPECS} extra specs", key="extra_specs")
            flavors.set_extra_specs(connection, flavor_id, tuple(sorted(specs.items())))

    def remove_extra_spec(self, flavor_id: str, key: str) -> None:
        """Remove one extra spec. Raises `NotFound` when the flavor lacks it."""
        self.get(flavor_id)
        with self._database.write() as connection:
            if not flavors.remove_extra_spec(connection, flavor_id, key):
                raise no_extra_spec(flavor_id, key)

    @contextmanager
    def _held(self, flavor_id: str) -> Iterator[tuple[sa.Connection, FlavorRecord]]:
        """Begin a transaction that locks the flavor, and read the flavor in it."""
        with self._database.write() as connection:
            row = flavors.hold(connection, flavor_id)
            if row is None:
                raise not_found("Flavor", flavor_id)
            yield connection, row


def no_extra_spec(flavor_id: str, key: str) -> NotFound:
    """The error for an extra spec that a flavor does not have, in Nova's words."""
    return NotFound(f"Flavor {flavor_id} has no extra specs with key {key[:255]}.")
