"""What holds of every fit and every refusal, on any small host with any history."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.build.hosts import states
from tests.build.requests import guests

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit, NoFit, Strategy
from pinfold.core.fit.check import violations
from pinfold.core.fit.count import CellCounts, Counts, count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import fit, search
from pinfold.core.fit.explain import explain
from pinfold.core.fit.invariants import broken
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.ledger import Role, claim, release, retiring, roles
from pinfold.core.overhead import masks
from pinfold.core.pools import Pools
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import GuestRequest
from pinfold.core.topology import Topology

STRATEGIES = st.sampled_from(list(Strategy))
SMALL_RUN = settings(max_examples=60, deadline=None)


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
        assert taken.revision == where.revision + 1
        assert again == structs.replace(where, revision=where.revision + 2)
        assert fit(request, again, strategy) == answer


@SMALL_RUN
@given(HISTORIES, guests())
def test_counts_carried_from_claim_to_claim_are_the_counts_of_the_state(where: HostState, request: GuestRequest) -> None:
    before, answer = count_host(where), fit(request, where)
    if isinstance(answer, Fit):
        taken = before.after(answer, claim(where, "h", answer), taken=True)
        assert told(taken) == told(count_host(taken.state))
        left = taken.after(answer, release(taken.state, "h"), taken=False)
        assert told(left) == told(count_host(left.state)) == told(before)


@SMALL_RUN
@given(states(), st.lists(st.one_of(guests(), st.integers(0, 9), st.sets(st.integers(0, 20), max_size=4)), max_size=8), STRATEGIES)
def test_counts_carried_through_any_history_are_the_counts_of_the_state(
    where: HostState, history: list[GuestRequest | int | set[int]], strategy: Strategy
) -> None:
    """A request is placed and claimed, a number releases one of the claims, and pCPUs of a set go offline, claimed ones among them."""
    counts = count_host(where)
    for number, event in enumerate(history):
        held = counts.state.ledger.claims
        if isinstance(event, GuestRequest):
            found = search(prepare(event), counts, strategy)
            counts = counts.claimed(Claim(guest=f"n{number}", fit=found)) if found else counts
        elif isinstance(event, set):
            counts = count_host(without(counts.state, CpuSet(event)))
        elif held:
            gone = held[event % len(held)]
            counts = counts.released(gone.guest, gone.id)
        anew = count_host(counts.state, counts.frame)
        assert told(counts) == told(anew)
        assert counts.content == anew.content
    for request in (one for one in history if isinstance(one, GuestRequest)):
        assert search(prepare(request), counts, strategy) == search(prepare(request), count_host(counts.state), strategy)


@SMALL_RUN
@given(HISTORIES, st.lists(st.tuples(guests(), st.booleans(), st.sampled_from("abc")), max_size=5), STRATEGIES)
def test_claims_that_are_made_together_are_those_made_one_after_another(
    where: HostState, wanted: list[tuple[GuestRequest, bool, str]], strategy: Strategy
) -> None:
    """Some guests are placed beside those before them, others as if these were not there: those may be refused, as may a guest's second
    claim.
    """
    before = after = count_host(where)
    claims: list[Claim] = []
    refused = False
    for request, beside, name in wanted:
        found = search(prepare(request), after if beside else before, strategy)
        if found is None:
            continue
        claims.append(Claim(guest=name, fit=found))
        try:
            after = after.claimed(claims[-1])
        except Conflict:
            refused = True
            break
    if refused:
        with pytest.raises(Conflict):
            before.claimed_all(claims)
        return
    together = before.claimed_all(claims)
    assert together.state == after.state
    assert told(together) == told(after)
    assert together.content == after.content


@SMALL_RUN
@given(states(), st.lists(guests(), min_size=2, max_size=4), st.permutations(range(4)), STRATEGIES)
def test_counts_follow_the_releases_of_a_host_where_claims_hold_a_pcpu_together(
    where: HostState, requests: list[GuestRequest], order: list[int], strategy: Strategy
) -> None:
    """Each guest is placed as if it were alone, so most pCPUs are held by several: only a record of a faulty host has such claims."""
    found = [answer for request in requests if isinstance(answer := fit(request, where, strategy), Fit)]
    claims = tuple(Claim(guest=f"g{number}", fit=answer) for number, answer in enumerate(found))
    counts = count_host(structs.replace(where, ledger=Ledger(claims=claims, foreign=where.ledger.foreign)))
    for number in order:
        if number < len(claims):
            counts = counts.released(f"g{number}")
            assert told(counts) == told(count_host(counts.state))
    assert told(counts) == told(count_host(where))


def without(where: HostState, gone: CpuSet) -> HostState:
    """The host with these pCPUs offline: they leave their cores and the pools."""
    topology, pools = where.topology, where.pools
    gone &= topology.online
    cells = []
    for cell in topology.cells:
        kept = [(core - gone, socket) for core, socket in zip(cell.cores, cell.sockets, strict=True) if core - gone]
        kept.sort(key=lambda one: one[0].first)
        cells.append(structs.replace(cell, cores=tuple(core for core, _ in kept), sockets=tuple(one for _, one in kept), caches=()))
    overhead = None if pools.overhead is None else pools.overhead - gone
    return structs.replace(
        where,
        topology=Topology(cells=tuple(cells), offline=topology.offline | gone),
        pools=Pools(shared=pools.shared - gone, dedicated=pools.dedicated - gone, overhead=overhead),
        revision=where.revision + 1,
    )


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_the_kept_counts_and_request_give_the_answer_of_the_state(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    demand, counts = prepare(request), count_host(where)
    for _ in range(2):
        found = search(demand, counts, strategy)
        assert (found or NoFit(reasons=explain(demand, counts))) == fit(request, where, strategy)


def told(counts: Counts) -> dict[str, object]:
    names = ("shape", *(name for name in CellCounts.__slots__ if name not in ("before", "frame", "known_shape", "__weakref__")))
    cells = [{name: getattr(cell, name) for name in names} for cell in counts.cells]
    derived = ("frame", "state", "cells", "_orders")
    return {"cells": cells} | {name: getattr(counts, name) for name in Counts.__slots__ if name not in derived}


@SMALL_RUN
@given(HISTORIES, st.sets(st.integers(0, 20)))
def test_roles_partition_dedicated_and_retiring(where: HostState, shrunk: set[int]) -> None:
    pools = Pools(shared=where.pools.shared, dedicated=where.pools.dedicated - CpuSet(shrunk), overhead=where.pools.overhead)
    where = structs.replace(where, pools=pools)
    told_roles = roles(where)
    assert CpuSet(told_roles) == pools.dedicated | retiring(where)
    assert [role.pcpu for role in told_roles.values()] == sorted(told_roles)
    assert CpuSet(pcpu for pcpu, role in told_roles.items() if role.retiring) == retiring(where)
    taken = CpuSet(pcpu for pcpu, role in told_roles.items() if role.role not in (Role.FREE, Role.FOREIGN))
    owned = [claim.fit.taken for claim in where.ledger.claims]
    assert len(taken) == sum(len(cpus) for cpus in owned)
    assert CpuSet(told_roles) - taken == CpuSet(pcpu for cell in count_host(where).cells for pcpu in CpuSet.from_mask(cell.free)) | CpuSet(
        pcpu for pcpu, role in told_roles.items() if role.role is Role.FOREIGN
    )


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_same_input_same_answer(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    first = fit(request, where, strategy)
    assert fit(request, where, strategy) == first
    assert fit(pickle.loads(pickle.dumps(request)), pickle.loads(pickle.dumps(where)), strategy) == first


@SMALL_RUN
@given(HISTORIES, guests(), STRATEGIES)
def test_input_never_changes(where: HostState, request: GuestRequest, strategy: Strategy) -> None:
    kept_state, kept_request = copy.deepcopy(where), copy.deepcopy(request)
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
    on_empty = fit(request, structs.replace(where, ledger=Ledger()))
    if isinstance(answer, NoFit):
        never = isinstance(on_empty, NoFit) and any(reason.code is not ReasonCode.OVERHEAD_POOL_OFFLINE for reason in on_empty.reasons)
        assert (answer.kind is Kind.INFEASIBLE) == never
    elif not where.ledger.foreign:
        assert isinstance(on_empty, Fit)


@SMALL_RUN
@given(st.lists(HISTORIES, min_size=2, max_size=4), guests(), guests())
def test_hosts_and_repeats_do_not_influence_each_other(where: list[HostState], request: GuestRequest, other: GuestRequest) -> None:
    alone = [fit(request, state) for state in where]
    fit(other, where[0])
    assert [fit(request, state) for state in where] == alone
    assert [fit(request, state) for state in reversed(where)] == alone[::-1]


@SMALL_RUN
@given(HISTORIES, guests())
def test_a_release_never_makes_a_fit_impossible(where: HostState, request: GuestRequest) -> None:
    if isinstance(fit(request, where), Fit):
        for held in where.ledger.claims:
            assert isinstance(fit(request, release(where, held.guest)), Fit)
