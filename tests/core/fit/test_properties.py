"""What holds of every fit and every refusal, on any small host with any history."""

from __future__ import annotations

import copy
import dataclasses
import pickle

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.hosts import guest, guests, states

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit import fit
from pinfold.core.fit.check import violations
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.invariants import broken
from pinfold.core.fit.model import Fit, NoFit, Strategy
from pinfold.core.host import HostState, Ledger
from pinfold.core.ledger import Role, claim, release, retiring, roles
from pinfold.core.overhead import masks
from pinfold.core.pools import Pools
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import GuestRequest

STRATEGIES = st.sampled_from(list(Strategy))
SMALL_RUN = settings(max_examples=60, deadline=None)


def fresh(where: HostState) -> HostState:
    """An equal state that nothing was derived from yet."""
    return dataclasses.replace(where)


def filled(where: HostState, requests: list[GuestRequest], strategy: Strategy) -> HostState:
    for number, request in enumerate(requests):
        answer = fit(request, where, strategy)
        if isinstance(answer, Fit):
            where = claim(where, f"g{number}", answer)
    return where


HISTORIES = st.builds(filled, states(), st.lists(guests(), max_size=4), STRATEGIES)


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_a_fit_breaks_no_rule_and_a_refusal_has_reasons(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    answer = fit(request, where, strategy)
    if isinstance(answer, Fit):
        assert violations(request, where, answer) == ()
        assert broken(answer) == ""
        assert all(masks(answer).vcpus)
    else:
        assert answer.reasons
        assert answer.sentence()


@SMALL_RUN
@given(HISTORIES, guests())
def test_strategies_agree_on_whether_it_fits(where: HostState, request: GuestRequest) -> None:
    assert isinstance(fit(request, where, Strategy.PACK), Fit) == isinstance(fit(request, where, Strategy.SPREAD), Fit)


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_claim_then_release_is_identity(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    answer = fit(request, where, strategy)
    if isinstance(answer, Fit):
        taken = claim(where, "h", answer)
        again = release(taken, "h")
        assert (again, taken.revision, again.revision) == (where, where.revision + 1, where.revision + 2)
        assert fit(request, again, strategy) == answer


@SMALL_RUN
@given(HISTORIES, guests())
def test_counts_carried_from_claim_to_claim_are_the_counts_of_the_state(where: HostState, request: GuestRequest) -> None:
    answer = fit(request, where)
    after = claim(where, "h", answer) if isinstance(answer, Fit) else where
    for state in (after, release(after, "h") if after is not where else where):
        assert told(state.counts) == told(Counts.of(state))


def told(counts: Counts) -> dict[str, object]:
    cells = [{name: getattr(cell, name) for name in CellCounts.__slots__ if name != "frame"} for cell in counts.cells]
    derived = ("frame", "cells", "by_id", "orders")
    return {"cells": cells} | {name: getattr(counts, name) for name in Counts.__slots__ if name not in derived}


@SMALL_RUN
@given(HISTORIES, st.sets(st.integers(0, 20)))
def test_roles_partition_dedicated_and_retiring(where: HostState, shrunk: set[int]) -> None:
    pools = Pools(shared=where.pools.shared, dedicated=where.pools.dedicated - CpuSet(shrunk), overhead=where.pools.overhead)
    where = dataclasses.replace(where, pools=pools)
    told_roles = roles(where)
    assert CpuSet(told_roles) == pools.dedicated | retiring(where)
    assert [role.pcpu for role in told_roles.values()] == sorted(told_roles)
    assert CpuSet(pcpu for pcpu, role in told_roles.items() if role.retiring) == retiring(where)
    taken = CpuSet(pcpu for pcpu, role in told_roles.items() if role.role not in (Role.FREE, Role.FOREIGN))
    owned = [claim.fit.taken for claim in where.ledger.claims]
    assert len(taken) == sum(len(cpus) for cpus in owned)
    assert CpuSet(told_roles) - taken == CpuSet(pcpu for cell in where.counts.cells for pcpu in CpuSet.from_mask(cell.free)) | CpuSet(
        pcpu for pcpu, role in told_roles.items() if role.role is Role.FOREIGN
    )


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_same_input_same_answer(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    first = fit(request, where, strategy)
    assert fit(request, where, strategy) == first
    assert fit(dataclasses.replace(request), fresh(where), strategy) == first
    assert fit(pickle.loads(pickle.dumps(request)), pickle.loads(pickle.dumps(where)), strategy) == first


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_input_never_changes(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    kept_state, kept_request = copy.deepcopy(fresh(where)), copy.deepcopy(request)
    answer = fit(request, where, strategy)
    if isinstance(answer, Fit):
        kept_answer = copy.deepcopy(answer)
        claim(where, "h", answer)
        assert answer == kept_answer
    assert (where, request) == (kept_state, kept_request)


@SMALL_RUN
@given(HISTORIES, guests())
def test_infeasible_is_what_the_empty_host_refuses(where: HostState, request: GuestRequest) -> None:
    answer = fit(request, where)
    on_empty = fit(request, dataclasses.replace(where, ledger=Ledger()))
    if isinstance(answer, NoFit):
        never = isinstance(on_empty, NoFit) and any(reason.code is not ReasonCode.OVERHEAD_POOL_OFFLINE for reason in on_empty.reasons)
        assert (answer.kind is Kind.INFEASIBLE) == never
    elif not where.ledger.foreign:
        assert isinstance(on_empty, Fit)


@SMALL_RUN
@given(st.lists(HISTORIES, min_size=2, max_size=4), guests(), guests())
def test_hosts_and_repeats_do_not_influence_each_other(where: list[HostState], request: GuestRequest, other: GuestRequest) -> None:
    alone = [fit(dataclasses.replace(request), fresh(state)) for state in where]
    fit(other, where[0])
    assert [fit(request, state) for state in where] == alone
    assert [fit(request, state) for state in reversed(where)] == alone[::-1]


@SMALL_RUN
@given(HISTORIES, guests())
def test_a_release_never_makes_a_fit_impossible(where: HostState, request: GuestRequest) -> None:
    if isinstance(fit(request, where), Fit):
        for held in where.ledger.claims:
            assert isinstance(fit(request, release(where, held.guest)), Fit)


@SMALL_RUN
@given(HISTORIES, guests())
def test_reasons_are_the_same_whenever_they_are_read(where: HostState, request: GuestRequest) -> None:
    late, early = fit(request, where), fit(dataclasses.replace(request), fresh(where))
    if isinstance(late, NoFit):
        assert isinstance(early, NoFit)
        kept = early.reasons
        for number in range(3):
            answer = fit(guest("1"), where)
            if isinstance(answer, Fit):
                where = claim(where, f"later{number}", answer)
        assert late.reasons == kept
        assert pickle.loads(pickle.dumps(fit(request, where))) == fit(request, where)
