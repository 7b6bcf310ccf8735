"""A flavor is remembered from one create to the next, and compared when a guest of it is stored. Real databases, a real Placement."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.build.requests import pinned
from tests.build.rows import add_host
from tests.service.test_create_costs import STATEMENTS, fleet_of, host_of, new_guest
from tests.service.test_together import counted

from pinfold.accounting.client import Placement
from pinfold.core.request.model import Flavor
from pinfold.service.flavors import Flavors
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests
from pinfold.store.database import Database
from pinfold.store.flavors import FlavorChanged
from pinfold.store.records import FlavorRecord, NewGuest

pytestmark = pytest.mark.real_placement

ODD = (("hw:cpu_policy", "dedicated"), ("trait:CUSTOM_\N{LATIN SMALL LETTER E WITH ACUTE}", 'it\'s "x" \\ %s'))
"""Extra specs whose text needs care in JSON and in SQL."""
CHANGES: dict[str, Callable[[Flavors], object]] = {
    "an extra spec added": lambda known: known.set_extra_specs("f", {"hw:emulator_threads_policy": "share"}),
    "an extra spec changed": lambda known: known.set_extra_specs("f", {"hw:cpu_policy": "shared"}),
    "an extra spec removed": lambda known: known.remove_extra_spec("f", "hw:cpu_policy"),
    "given to a project": lambda known: known.grant("f", "other"),
    "removed": lambda known: known.remove("f"),
}


def made_of(seen: FlavorRecord) -> NewGuest:
    return replace(new_guest(pinned(1)), flavor=seen.flavor, seen_flavor=seen)


def offered(fleet: Fleet, specs: tuple[tuple[str, str], ...] = ODD) -> FlavorRecord:
    """A flavor as a create sees it."""
    size = Flavor(vcpus=1, memory_mib=64, name="f", extra_specs=specs)
    fleet.flavors.create(FlavorRecord(id="f", flavor=size, public=False, details=(("swap", "1"),)))
    seen = fleet.flavors.newest("f")
    assert seen is not None and fleet.flavors.remembered("f") == seen
    return seen


@pytest.mark.parametrize("specs", [ODD, ()], ids=["odd texts", "no extra specs"])
def test_a_guest_of_an_unchanged_flavor_takes_no_statement_for_it_on_postgresql(
    database: Database, placement: Placement, specs: tuple[tuple[str, str], ...]
) -> None:
    fleet = fleet_of(database, placement, "c01")
    seen = offered(fleet, specs)
    fleet.guests.create(made_of(seen))
    new = made_of(seen)
    with counted(database) as statements:
        fleet.guests.create(new)
    sqlite = not database.postgresql  # which reads the flavor in the transaction that stores the guest
    assert len([one for one in statements if not one.startswith("BEGIN")]) == STATEMENTS[database.engine.dialect.name] + sqlite
    assert host_of(database, new.id) is not None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_guest_of_a_flavor_that_another_process_has_changed_is_not_stored(
    database: Database, placement: Placement, change: Callable[[Flavors], object]
) -> None:
    fleet = fleet_of(database, placement, "c01")
    seen = offered(fleet)
    change(assemble(database, placement).flavors)
    new = made_of(seen)
    with pytest.raises(FlavorChanged):
        fleet.guests.create(new)
    with pytest.raises(FlavorChanged):
        fleet.guests.create_all([made_of(seen), made_of(seen)])
    with database.read() as connection:
        assert guests.find(connection, new.id) is None
    found = fleet.flavors.newest("f")
    assert fleet.flavors.remembered("f") == found != seen
    if found is not None:
        fleet.guests.create(made_of(found))


def test_a_guest_of_a_project_with_a_quota_is_stored_by_a_flavor_that_was_seen(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01")
    seen = offered(fleet)
    fleet.quotas.change("p", {"instances": 1}, force=False)
    new = made_of(seen)
    fleet.guests.create(new)
    assert host_of(database, new.id) is not None


def test_the_flavors_that_were_read_last_are_remembered(database: Database, placement: Placement) -> None:
    add_host(database, "c01")
    known = assemble(database, placement).flavors
    for number in range(65):
        known.create(FlavorRecord(id=str(number), flavor=Flavor(vcpus=1, memory_mib=64, name=f"f{number}")))
        known.newest(str(number))
    assert known.remembered("0") is None
    assert known.remembered("1") is not None and known.remembered("64") is not None
