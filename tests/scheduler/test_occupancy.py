"""What hosts hold in numbers, and how often it is counted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import pinned

from pinfold.core.fit.count import count_host
from pinfold.core.host import Claim, HostState
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.ledger import Role, roles
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler import occupancy
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.occupancy import OccupancyReader


@pytest.fixture
def index() -> Index:
    made = Index()
    made.put(Entry(id=HostId(name), name=name, counts=count_host(as_state(report(), name=name))) for name in ("c02", "c01", "c03"))
    return made


def state_of(index: Index, host: str) -> HostState:
    entry = index.get(HostId(host))
    assert entry is not None
    return entry.state


def claim(index: Index, host: str, guest: str) -> Claim:
    """A guest of two pCPUs, and one more for its emulator, is claimed on the host."""
    state = state_of(index, host)
    made = Claim(guest=GuestId(guest), fit=fits(pinned(2, emulator=EmulatorPolicy.ISOLATE), state), id=ClaimId(guest))
    index.claimed(HostId(host), made, state.revision + 1)
    return made


def test_a_host_tells_what_its_claims_hold(index: Index) -> None:
    made = claim(index, "c02", "1")
    first, second, third = OccupancyReader(index).read()
    assert [first.name, second.name, third.name] == ["c01", "c02", "c03"]
    free = len(state_of(index, "c01").pools.dedicated)
    assert first.pcpus == ((Role.FREE, free),)
    assert dict(second.pcpus) == {Role.FREE: free - 3, Role.VCPU: 2, Role.EMULATOR: 1}
    assert (second.revision, second.booked_millicpu) == (first.revision + 1, made.fit.overhead_millicpu)
    assert sum(count for _, count in second.pcpus) == len(roles(state_of(index, "c02")))


def test_only_the_hosts_that_changed_are_counted_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def count(state: HostState) -> object:
        counted.append(state.name)
        return roles(state)

    monkeypatch.setattr(occupancy, "roles", count)
    reader = OccupancyReader(index)
    reader.read()
    assert counted == ["c01", "c02", "c03"]
    claim(index, "c02", "1")
    before = reader.read()
    assert counted[3:] == ["c02"]
    index.released(HostId("c02"), GuestId("1"), ClaimId("1"), state_of(index, "c02").revision + 1)
    after = reader.read()
    assert counted[4:] == ["c02"]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].pcpus == after[0].pcpus


def test_a_host_that_is_down_or_disabled_or_gone_is_told_at_once(index: Index) -> None:
    reader = OccupancyReader(index)
    assert [(host.up, host.disabled) for host in reader.read()] == [(True, False)] * 3
    entries = [index.get(HostId(name)) for name in ("c01", "c02")]
    assert entries[0] is not None and entries[1] is not None
    index.put([replace(entries[0], up=False), replace(entries[1], disabled=True)])
    index.drop({HostId("c03")})
    assert [(host.name, host.up, host.disabled) for host in reader.read()] == [("c01", False, False), ("c02", True, True)]
