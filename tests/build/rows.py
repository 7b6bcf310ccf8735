"""Rows of the store: hosts and guests, and the search for a host."""

from __future__ import annotations

import uuid

from tests.build.hosts import report

from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.scheduler.model import HostSearch
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import HostReport, NewGuest


def add_host(database: Database, name: str, reported: HostReport | None = None, *, lease_seconds: float = 3600) -> str:
    """Register a host; its id."""
    host = str(uuid.uuid4())
    with database.write() as connection:
        hosts.register(connection, host_id=host, name=name, report=reported or report(), token_hash="", lease_seconds=lease_seconds)
    return host


def add_guest(database: Database, request: GuestRequest, name: str = "vm") -> str:
    """Store a guest that wants a host; its id."""
    guest = str(uuid.uuid4())
    flavor = Flavor(vcpus=request.vcpus, memory_mib=request.memory_mib, disk_gib=request.disk_gib, name="f")
    with database.write() as connection:
        guests.create(connection, NewGuest(id=guest, name=name, flavor=flavor, request=request))
    return guest


def wanted(guest: str, request: GuestRequest, **more: object) -> HostSearch:
    """What the scheduler is asked."""
    return HostSearch(guest=guest, request=request, **more)  # type: ignore[arg-type]
