"""How free pCPUs lie on the cores of a cell: counted anew, or from the shape before, it is the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.build.hosts import cpus, state, states
from tests.build.requests import guest, guests

from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.count import Shape, count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import search
from pinfold.core.host import Claim, HostState
from pinfold.core.request.model import GuestRequest


@pytest.mark.parametrize(
    ("free", "left", "derived"),
    [
        pytest.param("0-7", "2-7", True, id="the first core is taken"),
        pytest.param("0-7", "4-7", True, id="the first two cores are taken"),
        pytest.param("0-7", "", True, id="all cores are taken"),
        pytest.param("1-7", "1,4-7", True, id="the first whole core after a broken one is taken"),
        pytest.param("0-7", "0-7", True, id="nothing is taken"),
        pytest.param("0-7", "1-7", False, id="half of a core is taken"),
        pytest.param("0-7", "0-1,4-7", False, id="another core than the first is taken"),
        pytest.param("0-7", "1,3-7", False, id="two halves are taken"),
        pytest.param("1-7", "2-7", False, id="a broken core is taken"),
        pytest.param("1-7", "4-7", False, id="a broken core and a whole one are taken"),
        pytest.param("2-7", "0-7", False, id="a core is given back"),
        pytest.param("2-7", "0-1,4-7", False, id="a core is given back and another taken"),
        pytest.param("", "0-1", False, id="a core is given back where nothing was free"),
    ],
)
def test_the_shape_after_a_change_is_derived_where_the_first_whole_cores_are_taken(free: str, left: str, derived: bool) -> None:
    frame = count_host(state("core:4 pu:2")).cells[0].frame
    found = Shape.of(frame, cpus(free).mask).less(frame, cpus(left).mask)
    assert (found is not None) is derived
    assert found in (None, Shape.of(frame, cpus(left).mask))


@settings(max_examples=100, deadline=None)
@given(states(), st.lists(st.tuples(guests(), st.booleans()), min_size=1, max_size=6), st.sampled_from(list(Strategy)))
def test_shapes_that_follow_claims_and_releases_are_those_of_the_free_pcpus(
    where: HostState, history: list[tuple[GuestRequest, bool]], strategy: Strategy
) -> None:
    """Shapes are read after some of the claims only, so that one may follow several; each guest leaves again in half of the histories."""
    counts = count_host(where)
    for number, (request, read) in enumerate(history):
        if read:
            assert all(cell.shape == Shape.of(cell.frame, cell.free) for cell in counts.cells)
        found = search(prepare(request), counts, strategy)
        if found is not None:
            counts = counts.claimed(Claim(guest=f"g{number}", fit=found))
            if number % 2:
                counts = counts.released(counts.state.ledger.claims[0].guest)
    assert all(cell.shape == Shape.of(cell.frame, cell.free) for cell in counts.cells)


def test_the_shape_before_is_kept_from_a_claim_until_the_next_is_counted() -> None:
    counts = count_host(state("core:4 pu:2 mem:64"))
    shape = counts.cells[0].shape
    found = search(prepare(guest("2", memory_mib=1)), counts)
    assert found is not None
    cell = counts.claimed(Claim(guest="g", fit=found)).cells[0]
    assert cell.before is shape
    assert cell.shape.whole_threads == (2, 3, 4, 5, 6, 7)
    assert cell.before is None
