"""Which guests of a host no service knows."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs
from tests.build.fits import fit
from tests.build.guests import recorded

from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import HostGuest, Record
from pinfold.host import disk
from pinfold.host.orphans import orphans

KNOWN, LOST, ELSEWHERE, DIRECT, FOREIGN = (f"{number}1111111-2222-4333-8444-555555555555" for number in range(5))


def guest(guest_id: str, owner: str) -> HostGuest:
    made = recorded(Record(guest=guest_id, policy=EmulatorPolicy.UNSET, fit=fit("3"), owner=owner), name=f"guest-{guest_id[0]}")
    return made if owner else structs.replace(made, record=None)


def test_only_a_service_s_guests_that_it_does_not_know_are_orphans(tmp_path: Path) -> None:
    settings = HostSettings(state_dir=str(tmp_path))
    path = disk.overlay_path(settings, LOST)
    path.parent.mkdir(parents=True)
    path.touch()
    guests = [
        guest(FOREIGN, ""),
        guest(DIRECT, "pinfold"),
        guest(ELSEWHERE, "the agent of another name"),
        guest(LOST, "the agent of c01"),
        guest(KNOWN, "the agent of c01"),
    ]
    found = orphans(settings, guests, frozenset({KNOWN}))
    assert [(orphan.guest.id, str(orphan.holds), orphan.disk) for orphan in found] == [(LOST, "3", str(path)), (ELSEWHERE, "3", None)]
