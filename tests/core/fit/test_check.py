"""`violations` names what is wrong with a fit: each rule broken once, and a sound fit broken not at all."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import cpus, state
from tests.build.requests import explicit, guest

from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.fit.check import holds, violations
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.host import HostState, Limits
from pinfold.core.ledger import claim
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy

WHERE = state("pack:2 core:4 pu:2 mem:64 huge:2048x8", shared="0-1,8-9", overhead="0-1", disk_gib=10)
PLAIN = guest("2 2")
MIXED = guest("2 2", floating="3", emulator=EmulatorPolicy.ISOLATE)
ALONE = guest("1", threads=ThreadPolicy.ISOLATE)


def cell(fit: Fit, number: int, **changes: object) -> Fit:
    cells = list(fit.cells)
    cells[number] = replace(cells[number], **changes)  # type: ignore[arg-type]
    return replace(fit, cells=tuple(cells))


def broken(request: GuestRequest, **changes: object) -> tuple[str, ...]:
    return violations(request, WHERE, replace(fits(request, WHERE), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("request_", [PLAIN, MIXED, ALONE, guest("2", threads=ThreadPolicy.REQUIRE), GuestRequest(vcpus=3, memory_mib=9)])
def test_a_fit_of_the_engine_is_sound(request_: GuestRequest) -> None:
    assert violations(request_, WHERE, fits(request_, WHERE)) == ()


@pytest.mark.parametrize(
    ("request_", "changes", "sentence"),
    [
        pytest.param(PLAIN, {"vcpus": 5}, "the fit is not the size of the request", id="size"),
        pytest.param(PLAIN, {"cells": ()}, "the guest cells are not those of the request", id="cells"),
        pytest.param(PLAIN, {"emulator": cpus("7")}, "the emulator threads are on 7 (float), against the policy", id="emulator set"),
        pytest.param(PLAIN, {"emulator_pcpu": 4}, "an emulator pCPU was given that nobody asked for", id="emulator pCPU"),
        pytest.param(
            PLAIN, {"idle_siblings": cpus("7")}, "the idle siblings are 7, not the siblings of isolated pCPUs", id="idle siblings"
        ),
        pytest.param(PLAIN, {"overhead_millicpu": 3}, "the fit books 3 millicpu, the rates say 0", id="booking"),
        pytest.param(
            ALONE, {"idle_siblings": cpus("")}, "the idle siblings are , not the siblings of isolated pCPUs", id="no idle siblings"
        ),
        pytest.param(MIXED, {"emulator_pcpu": None}, "the isolated emulator has no pCPU in a cell of the guest", id="no emulator pCPU"),
        pytest.param(MIXED, {"emulator_pcpu": 2}, "pCPU 2 is given twice", id="emulator on a vCPU's pCPU"),
        pytest.param(MIXED, {"emulator_pcpu": 0}, "pCPU 0 is not a free dedicated pCPU", id="emulator outside the pool"),
        pytest.param(
            MIXED,
            {"emulator_placement": EmulatorPlacement.POOL},
            "the emulator threads are on 4 (pool), against the policy",
            id="emulator placement",
        ),
    ],
)
def test_a_wrong_fit_is_named(request_: GuestRequest, changes: dict[str, object], sentence: str) -> None:
    assert sentence in broken(request_, **changes)


@pytest.mark.parametrize(
    ("number", "changes", "sentence"),
    [
        pytest.param(1, {"host_cell": 0}, "two guest cells are on one host cell", id="one host cell twice"),
        pytest.param(1, {"host_cell": 7}, "there is no host cell 7", id="no such host cell"),
        pytest.param(0, {"pins": ((0, 2),)}, "the guest cells are not those of the request", id="a pin missing"),
        pytest.param(0, {"pins": ((0, 2), (1, 2))}, "pCPU 2 is given twice", id="a pCPU twice"),
        pytest.param(0, {"pins": ((0, 2), (1, 12))}, "vCPU 1 is on pCPU 12, which is not in cell 0", id="another cell"),
        pytest.param(0, {"page_kib": 2048}, "guest cell 0 asked for other pages than 2048 KiB", id="other pages"),
        pytest.param(0, {"page_kib": 8}, "cell 0 has no pages of 8 KiB", id="no such pages"),
        pytest.param(
            1, {"float_set": cpus("8")}, "guest cell 1 does not float over its host cell's part of the shared pool", id="float set"
        ),
    ],
)
def test_a_wrong_cell_is_named(number: int, changes: dict[str, object], sentence: str) -> None:
    request = MIXED if "float_set" in changes else PLAIN
    wrong = cell(fits(request, WHERE), number, **changes)
    assert sentence in violations(request, WHERE, wrong)


def test_what_the_host_lacks_is_named() -> None:
    request = guest("2", disk_gib=9, required=frozenset({"A"}), memory_mib=32)
    answer = fits(replace(request, traits_required=frozenset()), WHERE)
    after = claim(WHERE, "a", answer)
    assert violations(request, WHERE, answer) == ("the host lacks the trait A",)
    told = violations(request, after, answer)
    assert "pCPU 2 is not a free dedicated pCPU" in told
    assert "18 GiB of disk are promised, more than the host has" in told
    assert "cell 0 has 4096 free pages of 4 KiB, 8192 needed" in told


def test_an_overdrawn_line_is_named() -> None:
    tight = replace(WHERE, limits=Limits(reserved_memory_mib=90, cpu_allocation_ratio=0.4))
    request = guest("2", floating="0", memory_mib=8)
    told = violations(request, tight, fits(request, WHERE))
    assert told == ("cell 0 has 1 floating vCPU, more than its shared pCPUs hold", "the host's small-page memory of 96 MiB is overdrawn")


@pytest.mark.parametrize(
    ("request_", "changes"),
    [
        pytest.param(PLAIN, {"pins": ((0, 2), (1, 2))}, id="a pCPU twice"),
        pytest.param(PLAIN, {"pins": ((0, 2),)}, id="a pin missing"),
        pytest.param(PLAIN, {"pins": ((0, 0), (1, 2))}, id="a pCPU outside the pool"),
        pytest.param(PLAIN, {"host_cell": 1}, id="one host cell twice"),
        pytest.param(PLAIN, {"memory_mib": 100}, id="too much memory"),
        pytest.param(guest("2 2", memory_mib=4, page=explicit(2048)), {"memory_mib": 100}, id="too many pages"),
        pytest.param(guest("2", threads=ThreadPolicy.ISOLATE), {"pins": ((0, 2), (1, 3))}, id="two vCPUs on a core"),
    ],
)
def test_the_quick_check_rejects_as_well(request_: GuestRequest, changes: dict[str, object]) -> None:
    answer = fits(request_, WHERE)
    assert holds(prepare(request_), count_host(WHERE), answer)
    assert not holds(prepare(request_), count_host(WHERE), cell(answer, 0, **changes))


def test_the_quick_check_wants_the_emulator() -> None:
    answer = fits(MIXED, WHERE)
    where: HostState = WHERE
    for changes in ({"emulator_pcpu": None}, {"emulator_pcpu": 2}, {"emulator": cpus("")}):
        assert not holds(prepare(MIXED), count_host(where), replace(answer, **changes))  # type: ignore[arg-type]
