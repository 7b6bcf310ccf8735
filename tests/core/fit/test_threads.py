"""Which pCPUs carry the vCPUs and the isolated emulator inside a cell, by thread policy; and which host cells are preferred."""

from __future__ import annotations

import pytest
from tests.build.fits import fits, places, refused
from tests.build.hosts import cpus, state
from tests.build.requests import guest

from pinfold.core.fit import cores
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.count import count_host
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy, ThreadPolicy

PREFER, ISOLATE, REQUIRE = ThreadPolicy.PREFER, ThreadPolicy.ISOLATE, ThreadPolicy.REQUIRE
ISOLATED = EmulatorPolicy.ISOLATE


@pytest.mark.parametrize(
    ("text", "taken", "vcpus", "pins"),
    [
        pytest.param("core:4 pu:2", "", 4, "0,1,2,3", id="an even guest fills sibling pairs"),
        pytest.param("core:4 pu:2", "0", 2, "2,3", id="a pair takes a whole core, not two broken ones"),
        pytest.param("core:4 pu:2", "0,2", 2, "4,5", id="a pair takes a whole core though broken cores have enough threads"),
        pytest.param("core:4 pu:2", "4", 1, "5", id="one vCPU takes the thread of a broken core"),
        pytest.param("core:4 pu:2", "4", 3, "0,1,5", id="an odd vCPU takes the thread of a broken core"),
        pytest.param("core:4 pu:2", "", 3, "0,1,2", id="a whole core is broken where nothing else is left"),
        pytest.param("core:3 pu:2", "0,2", 4, "1,3,4,5", id="broken cores serve what whole cores cannot"),
        pytest.param("core:4", "1", 3, "0,2,3", id="without SMT the lowest pCPUs"),
        pytest.param("core:4 pu:2 far", "", 4, "0,4,1,5", id="siblings numbered far apart carry consecutive vCPUs"),
        pytest.param("core:2 pu:4", "0-1", 2, "2,3", id="four-way SMT: the broken core that holds the guest"),
        pytest.param("core:3 pu:4", "0-1,4-6", 1, "7", id="four-way SMT: the smallest broken core that suffices"),
        pytest.param("core:3 pu:4", "0-1,4-6", 6, "2,3,8,9,10,11", id="four-way SMT: a whole core and the fitting rest"),
        pytest.param("core:3 pu:2 offline:1", "", 3, "0,2,3", id="a core with an offline sibling is filled by one vCPU"),
    ],
)
def test_prefer(text: str, taken: str, vcpus: int, pins: str) -> None:
    assert places(fits(guest(str(vcpus)), state(text, taken=taken))) == [(0, pins)]


@pytest.mark.parametrize(
    ("text", "taken", "vcpus", "pins"),
    [
        pytest.param("core:4 pu:2", "", 4, "0,1,2,3", id="siblings in pairs"),
        pytest.param("core:4 pu:2", "0", 3, "2,3,4", id="an odd vCPU leaves one thread of a whole core unused"),
        pytest.param("core:4 pu:2", "0,2,4", 1, "6", id="one vCPU wants a core with two free threads, too"),
        pytest.param("core:2 pu:4", "0-1,4-6", 2, "2,3", id="two free threads of a broken core are enough"),
    ],
)
def test_require(text: str, taken: str, vcpus: int, pins: str) -> None:
    assert places(fits(guest(str(vcpus), threads=REQUIRE), state(text, taken=taken))) == [(0, pins)]


@pytest.mark.parametrize(
    ("text", "taken", "vcpus", "available"),
    [
        pytest.param("core:4", "", 1, 0, id="a host without SMT has nothing for require"),
        pytest.param("core:4 pu:2", "0,2,4", 3, 2, id="threads of broken cores do not count"),
        pytest.param("core:3 pu:2 offline:1,3", "", 3, 2, id="threads with offline siblings do not count"),
    ],
)
def test_require_is_refused(text: str, taken: str, vcpus: int, available: int) -> None:
    reasons = refused(guest(str(vcpus), threads=REQUIRE), state(text, taken=taken)).reasons
    assert [(reason.code, reason.available) for reason in reasons if reason.cell == 0] == [(ReasonCode.THREAD_SIBLINGS, available)]


def test_require_leaves_the_single_thread_to_the_isolated_emulator() -> None:
    answer = fits(guest("2", threads=REQUIRE, emulator=ISOLATED), state("core:2 pu:2", taken="0"))
    assert (places(answer), answer.emulator_pcpu) == ([(0, "2,3")], 1)


@pytest.mark.parametrize(
    ("text", "taken", "emulator", "pins", "idle"),
    [
        pytest.param("core:4 pu:2", "", False, "0,2", "1,3", id="a core for each vCPU, the siblings idle"),
        pytest.param("core:4 pu:2", "1", False, "2,4", "3,5", id="a broken core is no whole core"),
        pytest.param("core:4", "", False, "0,1", "", id="without SMT every pCPU is a core"),
        pytest.param("core:4 pu:2", "", True, "0,2", "1,3,5", id="the emulator has a core of its own, too"),
        pytest.param("core:2 pu:4", "", False, "0,4", "1-3,5-7", id="four-way SMT idles three siblings each"),
        pytest.param("core:3 pu:2 offline:5", "", False, "0,4", "1", id="a core with an offline sibling idles nobody and comes first"),
        pytest.param("core:3 pu:2 far", "", False, "0,1", "3-4", id="siblings numbered far apart"),
    ],
)
def test_isolate(text: str, taken: str, emulator: bool, pins: str, idle: str) -> None:
    answer = fits(guest("2", threads=ISOLATE, emulator=ISOLATED if emulator else EmulatorPolicy.UNSET), state(text, taken=taken))
    assert (places(answer), answer.idle_siblings) == ([(0, pins)], cpus(idle))
    assert answer.taken == cpus(pins) | cpus(idle) | cpus(str(answer.emulator_pcpu) if emulator else "")


def test_isolate_wants_the_sibling_in_the_dedicated_pool_as_well() -> None:
    where = state("core:2 pu:2", dedicated="0,2-3", shared="1")
    assert places(fits(guest("1", threads=ISOLATE), where)) == [(0, "2")]
    assert refused(guest("2", threads=ISOLATE), where).reasons[-1].sentence() == "cell 0 has 1 whole dedicated core in all, 2 needed"


@pytest.mark.parametrize(
    ("text", "taken", "vcpus", "realtime", "pins", "emulator"),
    [
        pytest.param("core:4 pu:2", "0", "2", "", "2,3", 1, id="a thread of a broken core before a whole core's"),
        pytest.param("core:4 pu:2", "", "3", "", "0,1,2", 3, id="the sibling that the guest leaves over"),
        pytest.param("core:4 pu:2", "", "3", "1-2", "0,1,2", 4, id="not a realtime vCPU's sibling while a whole core is free"),
        pytest.param("core:2 pu:2", "", "3", "1-2", "1,2,3", 0, id="pins are chosen again so that the other thread is not realtime"),
        pytest.param("core:2 pu:2", "", "3", "0-2", "0,1,2", 3, id="where all are realtime there is no other choice"),
        pytest.param("core:2 pu:2", "", "1", "0", "0", 2, id="the other core for a lone realtime vCPU"),
        pytest.param("core:2 pu:2 / core:4 pu:2", "", "3", "1-2", "1,2,3", 0, id="within the chosen cell, though another has room"),
        pytest.param("core:3 pu:2", "4", "4", "1-3", "0,1,2,3", 5, id="a broken core beside full ones"),
        pytest.param("core:3 pu:2", "5", "3", "1-2", "0,1,4", 2, id="a whole core where the broken one is filled"),
    ],
)
def test_the_isolated_emulator(text: str, taken: str, vcpus: str, realtime: str, pins: str, emulator: int) -> None:
    answer = fits(guest(vcpus, realtime=realtime, emulator=ISOLATED), state(text, taken=taken))
    assert (places(answer), answer.emulator_pcpu) == ([(0, pins)], emulator)


@pytest.mark.parametrize(
    ("strategy", "cells", "taken", "wanted"),
    [
        pytest.param(Strategy.PACK, "2", "4-5", [1], id="pack: the fullest cell that suffices"),
        pytest.param(Strategy.SPREAD, "2", "0,4-5", [2], id="spread: the emptiest cell"),
        pytest.param(Strategy.PACK, "2", "", [0], id="pack: the lowest id among equals"),
        pytest.param(Strategy.SPREAD, "2", "", [0], id="spread: the lowest id among equals"),
        pytest.param(Strategy.PACK, "2 2", "8", [0, 2], id="pack: two cells, in their order"),
        pytest.param(Strategy.SPREAD, "2 2", "0", [1, 2], id="spread: two cells"),
        pytest.param(Strategy.PACK, "2 4", "0-1", [0, 1], id="pack: unequal cells"),
        pytest.param(Strategy.PACK, "4 2", "0-1", [1, 0], id="pack: unequal cells the other way"),
        pytest.param(Strategy.SPREAD, "3 2", "0-1", [1, 2], id="spread: unequal cells"),
    ],
)
def test_pack_and_spread(strategy: Strategy, cells: str, taken: str, wanted: list[int]) -> None:
    answer = fits(guest(cells), state("cell:3 core:4", taken=taken), strategy)
    assert [cell.host_cell for cell in answer.cells] == wanted


def test_cells_that_pin_nothing_are_packed_by_shared_room() -> None:
    where = state("cell:2 core:6", shared="0-3,6-7")
    assert fits(guest("2", floating="0-1"), where, Strategy.PACK).cells[0].host_cell == 1
    assert fits(guest("2", floating="0-1"), where, Strategy.SPREAD).cells[0].host_cell == 0


@pytest.mark.parametrize(
    "text", ["core:3 pu:2", "core:4", "core:2 pu:4", "core:3 pu:2 offline:1", "core:3 pu:2 far", "core:3 pu:3 offline:2,5"]
)
@pytest.mark.parametrize("required", [False, True])
def test_the_short_ways_of_choosing_agree_with_the_long_one(text: str, required: bool) -> None:
    online = list(state(text).topology.online)
    for chosen in range(1, 2 ** len(online)):
        free = ",".join(str(pcpu) for bit, pcpu in enumerate(online) if chosen >> bit & 1)
        cell = count_host(state(text, dedicated=free)).cells[0]
        wholes = [core for core in cell.shape.wholes if len(core) > required]
        brokens = [core for core in cell.shape.brokens if len(core) > required]
        for pins in range(1, (cell.shape.n_paired if required else cell.n_free) + 1):
            assert cores.choose(cell, pins, required=required, isolated=False) == cores.fill(cell, wholes, brokens, pins)
