"""A create goes by its flavor as it is now, although the process remembers it from the create before."""

from __future__ import annotations

from tests.rig.client import server_body
from tests.rig.in_process import Fleet

from pinfold.store import flavors


def test_a_server_is_of_the_flavor_as_it_is_now(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    fleet.flavor("growing", vcpus=1)
    fleet.create("first", "growing")
    fleet.ask("POST", "/flavors/growing/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "dedicated"}}, status=200)
    for _ in range(2):
        later = fleet.create("later", "growing")
        shown = fleet.ask("GET", f"/servers/{later}", status=200).json()["server"]
        assert shown["flavor"]["extra_specs"] == {"hw:cpu_policy": "dedicated"}
    fleet.ask("DELETE", "/flavors/growing", status=202)
    answer = fleet.ask("POST", "/servers", {"server": server_body("none", "growing")}, status=400)
    assert answer.json()["badRequest"]["message"] == "Flavor growing could not be found."


def test_a_flavor_that_was_in_the_way_is_read_again(standing_fleet: Fleet) -> None:
    """What a later pinfold stored may be more than this one takes; here it is an extra spec without a known value."""
    fleet = standing_fleet
    fleet.flavor("mended", vcpus=1)
    with fleet.database.write() as connection:
        flavors.set_extra_specs(connection, "mended", (("hw:cpu_policy", "none"),))
    body = {"server": server_body("vm", "mended")}
    fleet.ask("POST", "/servers", body, status=400)
    with fleet.database.write() as connection:
        flavors.set_extra_specs(connection, "mended", (("hw:cpu_policy", "dedicated"),))
    fleet.ask("POST", "/servers", body, status=202)
