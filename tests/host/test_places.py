"""Where the pins of a guest that is not ours put it."""

from __future__ import annotations

import pytest
from tests.build.guests import POOLS, theirs

from pinfold.core.errors import InvalidRequest
from pinfold.drivers.port import HostGuest
from pinfold.host.places import places
from pinfold.host.survey import pick


@pytest.mark.parametrize(
    ("guest", "pinned", "floats", "floating", "emulator", "alone"),
    [
        pytest.param(theirs(1, "x", ["4", "5"], emulator="0-1"), "4-5", 0, "", "0-1", False, id="pinned, emulator on the pool"),
        pytest.param(theirs(1, "x", ["4", "5"], emulator="6"), "4-5", 0, "", "6", True, id="pinned, emulator on a pCPU of its own"),
        pytest.param(theirs(1, "x", 2, placement="0-1"), "", 2, "0-1", "0-1", False, id="floating by the definition's default"),
        pytest.param(theirs(1, "x", 2), "", 2, None, None, False, id="no pins at all"),
        pytest.param(theirs(1, "x", ["0", "0"], emulator="0"), "", 2, "0", "0", False, id="one shared pCPU is nobody's own"),
        pytest.param(theirs(1, "x", ["4", "0-1"], emulator="4"), "4", 1, "0-1", "4", False, id="a mixed guest"),
        pytest.param(
            theirs(1, "x", ["4", "5"], specs={"hw:cpu_policy": "shared"}, nova=True), "", 2, "4-5", None, False, id="Nova says it floats"
        ),
    ],
)
def test_places(guest: HostGuest, pinned: str, floats: int, floating: str | None, emulator: str | None, alone: bool) -> None:
    found = places(guest, POOLS)
    assert (str(found.pinned), found.floats, found.emulator_alone) == (pinned, floats, alone)
    assert (None if found.floating is None else str(found.floating)) == floating
    assert (None if found.emulator is None else str(found.emulator)) == emulator


def test_a_guest_is_found_by_the_name_of_its_server() -> None:
    one, two = theirs(1, "instance-1", 1, nova=True, server="web"), theirs(2, "instance-2", 1, nova=True, server="db")
    assert pick((one, two), "web") is one
    assert pick((one, two), "instance-2") is two
    twin = theirs(3, "instance-3", 1, nova=True, server="web")
    with pytest.raises(InvalidRequest, match="several servers are called 'web'; name one of the guests instance-1, instance-3"):
        pick((one, two, twin), "web")
    with pytest.raises(InvalidRequest, match="did you mean web"):
        pick((one, two), "wep")


def test_a_name_that_two_guests_have_is_refused_with_their_ids() -> None:
    one, two = theirs(1, "db", 1), theirs(2, "db", 1)
    with pytest.raises(InvalidRequest, match=f"several guests are called 'db'; give the id, one of {one.id}, {two.id}"):
        pick((one, two), "db")
    assert pick((one, two), two.id) is two
