"""`Repairs`: ask the agent of a guest to move the guest's threads back, and keep its answer."""

from __future__ import annotations

from pinfold.core.errors import Conflict
from pinfold.core.identity import GuestId, HostId
from pinfold.core.repair_question import RepairAnswer
from pinfold.store import guests, hosts, repairs
from pinfold.store.database import Database
from pinfold.store.records import Desired, GuestRecord, HostRecord, Observed


class Repairs:
    """Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, guest_id: GuestId) -> int:
        """Ask the agent. Returns the number of the question. Raises `InvalidRequest` if there is no such guest, `Conflict` if it cannot be
        repaired now.
        """
        with self._database.write() as connection:
            guest = guests.get(connection, guest_id)
            host = hosts.get(connection, guest.host) if guest.host else None
            refusal = refused(guest, host)
            if host is None or refusal:
                raise Conflict(refusal)
            return repairs.ask(connection, guest_id, host.id)

    def keep(self, host: HostId, guest: GuestId, answer: RepairAnswer) -> None:
        """Keep the answer of a host's agent."""
        with self._database.write() as connection:
            repairs.answer(connection, host, guest, answer)


def refused(guest: GuestRecord, host: HostRecord | None) -> str:
    """Why a guest cannot be repaired now, '' if it can. Pure."""
    if host is None:
        return f"guest {guest.name} is on no host"
    if not host.up:
        return f"host {host.name} is silent: its agent could not move the threads of guest {guest.name}"
    if guest.desired is not Desired.RUNNING or guest.observed not in (Observed.RUNNING, Observed.PAUSED):
        return f"guest {guest.name} does not run: there are no threads to move"
    return ""
