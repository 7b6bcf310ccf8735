"""Who holds which pCPU, and whether a record still holds on the host of today."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.fits import fit
from tests.build.guests import HOST, POOLS, ours, surveyed, theirs, uuid
from tests.build.hosts import cpus

from pinfold.core.drift import Severity, two_owners
from pinfold.core.errors import Conflict
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import DefinedPins, HostGuest
from pinfold.host.claims import contested, holders, misplaced, owners
from pinfold.host.survey import foreign, own_pins


def test_everybody_with_pins_is_a_holder() -> None:
    seen = surveyed(
        ours(1, "a", fit("2-3", emulator="0-1")),
        theirs(2, "b", ["4", "5"], emulator="6", nova=True),
        theirs(3, "c", ["8-9"]),
    )
    assert [(holder.name, str(holder.cpus), holder.alone) for holder in holders(seen)] == [
        ("guest a", "2-3", True),
        ("Nova's guest b", "4-6", True),
        ("foreign guest c", "8-9", False),
    ]


def test_two_guests_of_novas_on_one_pcpu_are_parted_by_nova() -> None:
    pinned = [theirs(number, name, ["4"], emulator="0-1", nova=True) for number, name in ((1, "a"), (2, "b"))]
    (finding,) = two_owners(owners(surveyed(*pinned)))
    assert finding.sentence() == "pCPU 4 has more than one owner: Nova's guest a, Nova's guest b"
    assert finding.severity is Severity.DRIFT
    assert finding.advice.startswith("migrate a to another host with Nova, or resize it")
    assert "stopping and starting it changes nothing" in finding.advice


def test_a_stopped_guest_is_a_second_owner_once_it_starts_which_is_a_note() -> None:
    stopped = theirs(2, "b", ["4"], emulator="0-1", nova=True, running=False)
    (finding,) = two_owners(owners(surveyed(theirs(1, "a", ["4"], emulator="0-1", nova=True), stopped)))
    assert finding.sentence() == "pCPU 4 has more than one owner: Nova's guest a, Nova's guest b (stopped)"
    assert finding.severity is Severity.NOTE
    assert finding.advice.startswith("migrate b ")


def test_a_guest_of_novas_that_strayed_onto_another_pcpu_is_no_second_owner_there() -> None:
    strayed = replace(theirs(2, "b", ["2"], emulator="0-1", nova=True), kept=DefinedPins(vcpus=((0, cpus("4")),), emulator=cpus("0-1")))
    seen = surveyed(ours(1, "a", fit("2-3")), strayed)
    assert two_owners(owners(seen)) == ()
    assert [finding.subject for finding in contested(seen, uuid(1))] == ["2"], "but nobody may start there"


@pytest.mark.parametrize("other", [ours(2, "b", fit("2")), theirs(2, "b", ["2"])], ids=["two of ours", "a stranger"])
def test_a_guest_of_ours_moves_before_a_stranger_does(other: HostGuest) -> None:
    (finding,) = two_owners(owners(surveyed(ours(1, "a", fit("2-3")), other)))
    assert finding.advice == (
        "give a a place that nobody else has, its disk stays: `pinfold guest stop a`, `pinfold guest replace a`, `pinfold guest restart a`"
    )


def test_where_a_guest_of_novas_lets_its_emulator_float_is_no_place_of_anybody_alone() -> None:
    seen = surveyed(
        ours(1, "a", fit("2-3", pcpu=6)),
        theirs(2, "b", ["0-1", "0-1"], emulator="0-1,6", nova=True),
    )
    assert [finding.sentence() for finding in contested(seen, uuid(1))] == ["pCPU 6 has more than one owner: Nova's guest b, guest a"]


@pytest.mark.parametrize(
    ("other", "sentences"),
    [
        pytest.param(ours(2, "b", fit("4-5")), [], id="apart from another of ours"),
        pytest.param(ours(2, "b", fit("3-4")), ["pCPU 3 has more than one owner: guest a, guest b"], id="another of ours"),
        pytest.param(
            ours(2, "b", fit("4", pcpu=2), running=False),
            ["pCPU 2 has more than one owner: guest a, guest b"],
            id="a stopped one's emulator pCPU",
        ),
        pytest.param(theirs(2, "b", ["2-5"]), ["pCPUs 2-3 have more than one owner: foreign guest b, guest a"], id="a stranger's pins"),
        pytest.param(theirs(2, "b", ["0-15"]), [], id="a stranger's pin to the whole host binds nothing"),
    ],
)
def test_contested_pcpus(other: HostGuest, sentences: list[str]) -> None:
    seen = surveyed(ours(1, "a", fit("2-3")), other)
    assert [finding.sentence() for finding in contested(seen, uuid(1))] == sentences


def test_a_guest_that_somebody_removed_holds_nothing_that_could_be_contested() -> None:
    with pytest.raises(Conflict, match="somebody else removed it"):
        contested(surveyed(ours(2, "b", fit("4"))), uuid(1))


def test_two_others_in_conflict_do_not_concern_a_third() -> None:
    seen = surveyed(ours(1, "a", fit("2")), ours(2, "b", fit("4")), ours(3, "c", fit("4")))
    assert contested(seen, uuid(1)) == ()


SHRUNK = Pools(shared=cpus("0-1"), dedicated=cpus("4-15"), overhead=cpus("0-1"))
GROWN = Pools(shared=cpus("0-3"), dedicated=cpus("4-15"), overhead=cpus("0-3"))


def test_a_record_that_holds_has_no_findings() -> None:
    guest = ours(1, "a", fit("4-5", emulator="0-1"))
    for pools in (POOLS, SHRUNK, GROWN):
        assert misplaced(surveyed(guest, pools=pools), HostSettings(), guest, fit("4-5", emulator="0-1")) == ()


def test_a_record_on_pcpus_that_left_the_pool_does_not_hold() -> None:
    recorded = fit("2,4")
    guest = ours(1, "a", recorded)
    (finding,) = misplaced(surveyed(guest, pools=SHRUNK), HostSettings(), guest, recorded)
    assert finding.sentence() == "guest a: its pins lie on 2, outside the pool of today (4-15)"


def test_a_record_on_an_offline_pcpu_does_not_hold() -> None:
    recorded = fit("4-5")
    guest = ours(1, "a", recorded)
    seen = surveyed(guest, topology=host("cell:2 core:4 pu:2 offline:5"), pools=Pools(shared=cpus("0-1"), dedicated=cpus("2-4,6-15")))
    (finding,) = misplaced(seen, HostSettings(), guest, recorded)
    assert finding.sentence() == "guest a: it was recorded on 4-5, of which 5 is offline"


@pytest.mark.parametrize(
    ("guest", "expected_cpus", "memory"),
    [
        pytest.param(theirs(1, "x", ["4", "5"]), "4-5", 128, id="pins in the dedicated pool"),
        pytest.param(theirs(1, "x", ["0", "4"], emulator="6"), "4,6", 128, id="its emulator's pCPU too, shared ones not"),
        pytest.param(theirs(1, "x", 2), "", 128, id="one without pins"),
        pytest.param(theirs(1, "x", 2, placement="2-5"), "", 128, id="floating over a set is no pin"),
        pytest.param(theirs(1, "x", ["4"], running=False), "4", 0, id="a stopped one keeps its pins, but no memory"),
        pytest.param(
            theirs(1, "x", ["5"], kept=DefinedPins(vcpus=((0, cpus("4")),))), "4-5", 128, id="one pinned elsewhere live holds both pCPUs"
        ),
        pytest.param(
            theirs(1, "x", ["4"], emulator="0-1", kept=DefinedPins(vcpus=((0, cpus("4")),), emulator=cpus("6"))),
            "4,6",
            128,
            id="its emulator was moved live from a pCPU of its own",
        ),
        pytest.param(
            theirs(1, "x", ["4"], kept=DefinedPins(vcpus=((0, cpus("0-15")),))), "4", 128, id="the next start binds it to nothing"
        ),
    ],
)
def test_what_a_stranger_holds(guest: HostGuest, expected_cpus: str, memory: int) -> None:
    held = foreign(guest, POOLS, HOST)
    assert (held.cpus, held.memory_mib) == (cpus(expected_cpus), memory)
    assert own_pins(guest, HOST) & POOLS.dedicated == held.cpus
