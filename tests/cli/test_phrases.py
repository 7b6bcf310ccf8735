"""Where a guest that is not ours is, in words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.guests import surveyed, theirs
from tests.build.hosts import cpus

from pinfold.cli.views.phrases import foreign_words
from pinfold.drivers.port import DefinedPins, HostGuest

HOME = DefinedPins(vcpus=((0, cpus("4")),), emulator=cpus("0-1"))
SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
ISOLATE = SHARE | {"hw:emulator_threads_policy": "isolate"}


@pytest.mark.parametrize(
    ("guest", "vcpus", "emulator"),
    [
        pytest.param(
            theirs(1, "x", ["4"], emulator="2", nova=True, specs=SHARE, kept=HOME), "4", "the overhead pool, now 2, its own", id="share"
        ),
        pytest.param(
            theirs(1, "x", ["5"], emulator="0-1", nova=True, specs=SHARE, kept=HOME), "4, now 5", "the overhead pool", id="a vCPU"
        ),
        pytest.param(theirs(1, "x", ["4"], emulator="6", nova=True, specs=ISOLATE), "4", "6, its own", id="isolate"),
        pytest.param(
            theirs(1, "x", ["4"], emulator="0", nova=True, specs=ISOLATE), "4", "unknown, now 0", id="isolate, its pCPU is in no definition"
        ),
        pytest.param(theirs(1, "x", 2, placement="0-1", nova=True, specs={}), "2 float over 0-1", "the shared pool", id="floating"),
        pytest.param(theirs(1, "x", 2, placement="4-5", nova=True, specs={}), "2 float over 4-5", "4-5", id="floating outside its pool"),
        pytest.param(theirs(1, "x", ["4"], emulator="2", kept=HOME), "4", "2, its own", id="a stranger has no record but its pins"),
    ],
)
def test_a_guest_of_novas_is_shown_where_it_belongs_and_where_it_strayed(guest: HostGuest, vcpus: str, emulator: str) -> None:
    seen = surveyed(replace(guest, kept_first=True))
    assert foreign_words(seen, seen.guests[0]) == (vcpus, emulator)
