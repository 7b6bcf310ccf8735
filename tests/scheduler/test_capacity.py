"""How often hosts are counted again when several readers ask for different sets of flavors."""

from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import flavor, pinned

from pinfold.accounting.client import Placement
from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.fit.capacity import capacity as count_capacity
from pinfold.core.fit.count import count_host
from pinfold.core.host import Claim
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.scheduler import capacity
from pinfold.scheduler.capacity import CapacityReader
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.placement_sets import PlacementSets
from pinfold.store.database import Database

SMALL, LARGE = replace(flavor("hw:cpu_policy=dedicated"), name="small"), replace(flavor("hw:cpu_policy=dedicated", vcpus=8), name="large")


class Counted:
    """A reader of three hosts, and how many counts it makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.index = Index()
        self.index.put(
            Entry(id=HostId(name), name=name, counts=count_host(as_state(report(), name=name))) for name in ("c01", "c02", "c03")
        )
        never_opened = Database("sqlite:////nonexistent/pinfold.db")
        self.reader = CapacityReader(self.index, PlacementSets(Placement(httpx.Client()), never_opened, 5.0))
        self.counts = 0
        monkeypatch.setattr(capacity, "capacity", self._count)

    def _count(self, *host: object, **how: object) -> HostCapacity:
        self.counts += 1
        return count_capacity(*host, **how)  # type: ignore[arg-type]

    def read(self, *flavors: object) -> int:
        """How many hosts are counted for this reading."""
        before = self.counts
        self.reader.read(flavors)  # type: ignore[arg-type]
        return self.counts - before


def test_two_readers_in_turns_count_each_host_once_for_each_set_of_flavors(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counted(monkeypatch)
    assert (made.read(SMALL, LARGE), made.read(SMALL)) == (3, 3)
    assert [made.read(*flavors) for flavors in ((SMALL, LARGE), (SMALL,)) * 3] == [0] * 6


def test_a_claim_makes_each_reader_count_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counted(monkeypatch)
    made.read(SMALL, LARGE), made.read(SMALL)
    host = HostId("c02")
    entry = made.index.get(host)
    assert entry is not None
    guest = GuestId("11111111-1111-1111-1111-111111111111")
    made.index.claimed(host, Claim(guest=guest, fit=fits(pinned(2), entry.state), id=ClaimId("claim")), entry.state.revision + 1)
    assert (made.read(SMALL, LARGE), made.read(SMALL), made.read(SMALL, LARGE)) == (1, 1, 0)


def test_only_the_sets_that_were_read_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Counted(monkeypatch)
    others = [replace(SMALL, name=f"other{number}") for number in range(4)]
    made.read(SMALL)
    assert [made.read(other) for other in others] == [3] * 4
    assert made.read(others[1]) == 0
    assert made.read(SMALL) == 3
