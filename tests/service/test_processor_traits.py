"""The traits of the processor that guests of a host get: put on its provider, renewed, and chosen by."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.service.claiming import change, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.service.fleet import Fleet
from pinfold.store.database import Database

AVX2, AES, SSE2 = "HW_CPU_X86_AVX2", "HW_CPU_X86_AESNI", "HW_CPU_X86_SSE2"


def _of(placement: Placement, host: str) -> frozenset[str]:
    return placement.traits(host)[1] - {"HW_CPU_HYPERTHREADING", "CUSTOM_OVERHEAD_POOL"}


def test_a_provider_has_the_traits_of_its_hosts_processor_and_keeps_those_of_operators(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    placement.ensure_trait("CUSTOM_QUIET")
    generation, found = placement.traits(host)
    # Of the processor's, an operator may have set some by hand before agents reported any.
    placement.put_traits(host, generation, found | {"CUSTOM_QUIET", "HW_CPU_X86_TSX", AVX2})
    assert fleet.healer.heal().synced == 0
    assert _of(placement, host) == {"CUSTOM_QUIET", "HW_CPU_X86_TSX", AVX2}

    change(database, fleet, host, replace(report(), processor_traits=(AES, SSE2, "HW_CPU_X86_OF_TOMORROW")))
    assert _of(placement, host) == {"CUSTOM_QUIET", "HW_CPU_X86_TSX", AES, SSE2}
    change(database, fleet, host, replace(report(), processor_traits=(AVX2,)))
    assert _of(placement, host) == {"CUSTOM_QUIET", "HW_CPU_X86_TSX", AVX2}
    change(database, fleet, host, replace(report(), processor_traits=()))
    assert _of(placement, host) == {"CUSTOM_QUIET", "HW_CPU_X86_TSX"}
    change(database, fleet, host, replace(report(), processor_traits=UNSET))
    assert _of(placement, host) == {"CUSTOM_QUIET", "HW_CPU_X86_TSX"}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_guests_go_to_hosts_by_the_traits_of_the_processor(database: Database, fleet: Fleet) -> None:
    old, new = synced_hosts(database, fleet, "c01", "c02")
    change(database, fleet, old, replace(report(), processor_traits=(SSE2,)))
    change(database, fleet, new, replace(report(), processor_traits=(AVX2, SSE2)))
    wants, shuns = (replace(pinned(1), **{f"traits_{how}": frozenset({AVX2})}) for how in ("required", "forbidden"))
    assert {create(database, fleet, wants).host for _ in range(2)} == {new}
    assert {create(database, fleet, shuns).host for _ in range(2)} == {old}
    change(database, fleet, new, replace(report(), processor_traits=(SSE2,)))
    refused = refuse(database, fleet, wants)
    assert [one.no_fit.reasons[0].sentence() for one in refused.refusals] == [f"the host lacks the trait {AVX2}"] * 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_placement_that_does_not_know_a_trait_yet_gets_the_others(
    database: Database, fleet: Fleet, placement: Placement, tmp_path: Path
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    with sqlite3.connect(tmp_path / "placement.db") as connection:
        assert connection.execute("DELETE FROM traits WHERE name = 'HW_CPU_X86_AMXTILE'").rowcount == 1
    change(database, fleet, host, replace(report(), processor_traits=("HW_CPU_X86_AMXTILE", AVX2)))
    assert _of(placement, host) == {AVX2}
    assert fleet.healer.heal().synced == 0
