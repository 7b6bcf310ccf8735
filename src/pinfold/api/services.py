"""What the routes work with: one value that the composition root makes. Making it does not belong here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fastapi import Request

from pinfold.accounting.client import Placement
from pinfold.api.accounts import Doorkeeper
from pinfold.api.errors import ApiError
from pinfold.scheduler.lifecycle import Lifecycle
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import aggregates
from pinfold.store.database import Database

DEFAULT_ZONE: Final = "nova"
"""The availability zone of every host that is in no other; Nova's default, which clients expect."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The parts behind the routes.

    `placement_app` is the embedded Placement, None where a remote one is used. `doorkeeper` is None with `--no-auth` alone.
    `images` is the directory that images come from. `lease_seconds` is how long a host counts as up after a heartbeat.
    """

    database: Database
    scheduler: Scheduler
    lifecycle: Lifecycle
    placement: Placement
    images: Path
    placement_app: Wsgi | None = None
    doorkeeper: Doorkeeper | None = None
    lease_seconds: float = 30.0
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the process is about to end: whoever waits for orders is answered at once."""

    def aggregates_of_zone(self, zone: str) -> frozenset[str]:
        """The Placement aggregates that make up an availability zone; none for `nova`, in which every host is."""
        if zone in ("", DEFAULT_ZONE):
            return frozenset()
        with self.database.read() as connection:
            found = aggregates.all(connection)
        return frozenset(entry.uuid for entry in found if dict(entry.metadata).get("availability_zone") == zone)

    def check_zone(self, zone: str) -> None:
        """Raise `ApiError` 400 for a zone that no aggregate makes."""
        if zone not in ("", DEFAULT_ZONE) and not self.aggregates_of_zone(zone):
            raise ApiError(400, "The requested availability zone is not available")


def services_of(request: Request) -> ApiServices:
    """The services that this application was made with."""
    found: ApiServices = request.app.state.services
    return found
