"""The table of the policies, row by row, and that the engine answers by it."""

from __future__ import annotations

import pytest
from tests.build.hosts import state
from tests.build.requests import guest

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import EmulatorPlacement, Fit, NoFit
from pinfold.core.fit.engine import fit
from pinfold.core.overhead import table
from pinfold.core.overhead.table import PoolState
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy

UNSET, SHARE, ISOLATE = EmulatorPolicy
FLOAT, POOL, ISOLATED = EmulatorPlacement
POOLS = {PoolState.NONE: None, PoolState.ONLINE: "0-1", PoolState.OFFLINE: ""}


def test_every_policy_has_a_rule_for_every_state_of_the_pool() -> None:
    assert {policy: len(rules) for policy, rules in table.TABLE.items()} == dict.fromkeys(EmulatorPolicy, len(PoolState))


@pytest.mark.parametrize(
    ("policy", "pool", "placement", "books", "own", "refusal"),
    [
        pytest.param(UNSET, PoolState.NONE, FLOAT, False, 0, None, id="unset floats without a pool"),
        pytest.param(UNSET, PoolState.ONLINE, FLOAT, False, 0, None, id="unset floats beside a pool"),
        pytest.param(UNSET, PoolState.OFFLINE, FLOAT, False, 0, None, id="unset floats beside an offline pool"),
        pytest.param(SHARE, PoolState.NONE, FLOAT, False, 0, None, id="share floats without a pool"),
        pytest.param(SHARE, PoolState.ONLINE, POOL, True, 0, None, id="share runs on the pool and books it"),
        pytest.param(SHARE, PoolState.OFFLINE, POOL, True, 0, ReasonCode.OVERHEAD_POOL_OFFLINE, id="share never floats beside a pool"),
        pytest.param(ISOLATE, PoolState.NONE, ISOLATED, False, 1, None, id="isolate takes a pCPU"),
        pytest.param(ISOLATE, PoolState.ONLINE, ISOLATED, False, 1, None, id="isolate takes a pCPU beside a pool"),
        pytest.param(ISOLATE, PoolState.OFFLINE, ISOLATED, False, 1, None, id="isolate takes a pCPU beside an offline pool"),
    ],
)
def test_a_rule_is_the_contract_and_the_engine_answers_by_it(
    policy: EmulatorPolicy, pool: PoolState, placement: EmulatorPlacement, books: bool, own: int, refusal: ReasonCode | None
) -> None:
    rule = table.rules(policy)[pool]
    assert (rule.placement, rule.books, rule.own_pcpus, rule.refusal) == (placement, books, own, refusal)
    answer = fit(guest("2", emulator=policy), state("core:6", shared="0-1", overhead=POOLS[pool]))
    if refusal is not None:
        assert isinstance(answer, NoFit) and [reason.code for reason in answer.reasons] == [refusal]
        return
    assert isinstance(answer, Fit)
    assert (answer.emulator_placement, answer.overhead_millicpu > 0, answer.emulator_pcpu is not None) == (placement, books, own == 1)


@pytest.mark.parametrize("pool", PoolState)
@pytest.mark.parametrize("policy", [SHARE, ISOLATE])
def test_a_guest_whose_vcpus_are_all_realtime_is_refused_where_its_threads_would_float(policy: EmulatorPolicy, pool: PoolState) -> None:
    rule = table.rules(policy)[pool]
    answer = fit(guest("2", emulator=policy, realtime="0-1"), state("core:6", shared="0-1", overhead=POOLS[pool]))
    refused = {reason.code for reason in answer.reasons} if isinstance(answer, NoFit) else set()
    assert refused == {code for code in (rule.refusal, rule.realtime_refusal) if code is not None}


def test_requests_without_the_vcpus_that_a_policy_needs_are_refused() -> None:
    assert [policy for policy in EmulatorPolicy if table.needs_pinned(policy)] == [SHARE, ISOLATE]
    assert [policy for policy in EmulatorPolicy if table.needs_ordinary(policy)] == [UNSET]
    with pytest.raises(InvalidRequest, match="must be share or isolate"):
        fit(guest("2", realtime="0-1"), state("core:6", shared="0-1"))
