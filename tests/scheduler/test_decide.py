"""Index, filter, rank and choose: pure decisions on many hosts."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec import structs
from tests.build.fits import fits
from tests.build.hosts import NO_RESERVE, as_state, report, state
from tests.build.requests import floating, pinned
from tests.oracle.generate import case

from pinfold.core import ledger
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import fit
from pinfold.core.host import Claim, Foreign, ForeignMemory, HostState, Ledger, Limits, OverheadRates
from pinfold.core.pools import Pools
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, PageKind, PageRequest
from pinfold.scheduler.columns import numbers
from pinfold.scheduler.decide import Conditions, decide, explain, preview, untrait
from pinfold.scheduler.filter import least, need, survivors
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.model import HostRefusal, HostStrategy, SchedulerSettings
from pinfold.scheduler.rank import broken_cores
from pinfold.store.records import HostMark

SETTINGS = SchedulerSettings(strategy=HostStrategy.SPREAD)
GUEST = "11111111-1111-1111-1111-111111111111"


def _state(*, shared: str = "0-1", overhead: bool = True, limits: Limits | None = None, revision: int = 1) -> HostState:
    return as_state(report(shared=shared, overhead=overhead, limits=limits or NO_RESERVE), name="host", revision=revision)


def _entry(name: str, state: HostState | None = None, **more: object) -> Entry:
    return structs.replace(Entry(id=f"id-{name}", name=name, counts=count_host(state or _state())), **more)  # type: ignore[arg-type]


def _index(*entries: Entry) -> Index:
    index = Index()
    index.put(entries)
    return index


def _first(index: Index, request: GuestRequest, guest: str = GUEST, settings: SchedulerSettings = SETTINGS) -> str:
    return decide(index, guest, prepare(request), Conditions(), settings)[0].name


def _fill(state: HostState, request: GuestRequest, count: int) -> HostState:
    for _ in range(count):
        state = ledger.claim(state, f"33333333-2222-2222-2222-{len(state.ledger.claims):012}", fits(request, state))
    return state


def test_the_filter_never_drops_a_host_that_fits_and_drops_most_that_do_not() -> None:
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for number in range(1500):
        asked = case(3, number)
        state = structs.replace(asked.state, traits=frozenset())
        request = untrait(asked.request)
        fits = isinstance(fit(request, state, asked.strategy), Fit)
        entry = Entry(id="x", name="x", counts=count_host(state), strategy=asked.strategy)
        wanted = need(prepare(request))
        left = bool(_index(entry).look(lambda view, wanted=wanted: survivors(wanted, view.columns, least(wanted)))[0])  # type: ignore[misc]
        assert left or not fits, asked.seed
        outcomes[fits, left] += 1
    refused = outcomes[False, False] + outcomes[False, True]
    assert outcomes[True, True] > 300
    assert outcomes[False, False] > 0.5 * refused


def test_pages_of_which_more_are_taken_than_there_are_take_nothing_from_other_sizes() -> None:
    taken = Foreign(name="vm", cpus=CpuSet(), pages=(ForeignMemory(cell=0, size_kib=32768, count=12),))
    crowded = state("core:4 mem:256 huge:2048x64,32768x4", foreign=(taken,))
    request = structs.replace(pinned(2), page=PageRequest(kind=PageKind.EXPLICIT, size_kib=2048), explicit_page=True)
    assert isinstance(fit(request, crowded), Fit)
    assert _first(_index(_entry("c01", crowded)), request) == "c01"


def test_a_row_after_claims_and_releases_is_the_row_of_the_same_state_from_nothing() -> None:
    index = _index(_entry("c01"))
    state = _state()
    for number in range(4):
        guest = f"22222222-2222-2222-2222-{number:012}"
        answer = fit(pinned(2, emulator=EmulatorPolicy.SHARE), state)
        assert isinstance(answer, Fit)
        state = ledger.claim(state, guest, answer)
        index.claimed("id-c01", Claim(guest=guest, fit=answer), state.revision)
    state = ledger.release(state, "22222222-2222-2222-2222-000000000001")
    index.released("id-c01", "22222222-2222-2222-2222-000000000001", None, state.revision)
    row = index.look(lambda view: list(map(int, view.columns.numbers[0])))
    assert row == numbers(_entry("c01", state))
    found = index.get("id-c01")
    assert found is not None
    assert found.state == state


def test_a_claim_that_skips_a_revision_waits_for_the_store() -> None:
    index = _index(_entry("c01"))
    answer = fit(pinned(2), _state())
    assert isinstance(answer, Fit)
    index.claimed("id-c01", Claim(guest=GUEST, fit=answer), 3)
    entry = index.get("id-c01")
    assert entry is not None
    assert entry.state.revision == 1


def test_hosts_come_and_go() -> None:
    index = _index(*(_entry(f"c{number:02}") for number in range(40)))
    index.drop([f"id-c{number:02}" for number in range(0, 40, 2)])
    index.drop(["id-nobody"])
    assert len(index) == 20
    names = index.look(lambda view: {entry.name for entry in view.entries})
    assert names == {f"c{number:02}" for number in range(1, 40, 2)}
    assert {one.name for one in preview(index, prepare(pinned(1)), Conditions(), SETTINGS).candidates} == names


def test_marks_tell_what_to_read_anew_and_what_is_gone() -> None:
    index = _index(_entry("c01"), _entry("c02"), _entry("c03"))
    plain = {"up": True, "disabled": False, "disabled_reason": "", "fenced": False, "marked": 0.0}
    marks = [
        HostMark(id="id-c01", revision=1, **{**plain, "up": False}),  # type: ignore[arg-type]
        HostMark(id="id-c02", revision=5, **plain),  # type: ignore[arg-type]
        HostMark(id="id-c04", revision=1, **plain),  # type: ignore[arg-type]
    ]
    assert index.stale(marks) == {"id-c02", "id-c04"}
    assert index.without(marks) == {"id-c03"}
    found = index.get("id-c01")
    assert found is not None
    assert not found.open
    assert {one.name for one in decide(index, GUEST, prepare(pinned(1)), Conditions(), SETTINGS)} == {"c02", "c03"}


def test_an_older_state_never_replaces_a_newer_one() -> None:
    index = _index(_entry("c01", _state(revision=4)))
    index.put([_entry("c01", _state(revision=3))])
    found = index.get("id-c01")
    assert found is not None
    assert found.state.revision == 4


def test_a_host_with_an_overhead_pool_comes_before_one_without() -> None:
    index = _index(*(_entry(f"without{n}", _state(overhead=False)) for n in range(9)), _entry("with"))
    share = pinned(2, emulator=EmulatorPolicy.SHARE)
    for number in range(20):
        assert _first(index, share, guest=f"g{number}") == "with"


def test_a_host_with_more_headroom_of_the_pool_comes_first() -> None:
    booked = _fill(
        _state(limits=Limits(reserved_memory_mib=0, rates=OverheadRates(guest=300))), pinned(1, emulator=EmulatorPolicy.SHARE), 2
    )
    index = _index(_entry("booked", booked), _entry("fresh"))
    only_the_best = structs.replace(SETTINGS, top=1)
    assert _first(index, pinned(2, emulator=EmulatorPolicy.SHARE), settings=only_the_best) == "fresh"


@pytest.mark.parametrize(("strategy", "expected"), [(HostStrategy.PACK, "full"), (HostStrategy.SPREAD, "empty")])
@pytest.mark.parametrize("request_", [pinned(2), floating(1)], ids=["pinned", "floating"])
def test_full_or_empty_hosts_come_first_as_asked(strategy: HostStrategy, expected: str, request_: GuestRequest) -> None:
    index = _index(_entry("full", _fill(_fill(_state(), floating(1), 2), pinned(2), 1)), _entry("empty"))
    settings = structs.replace(SETTINGS, strategy=strategy, top=1)
    assert _first(index, request_, settings=settings) == expected


def test_fragments_are_used_before_whole_cores_are_broken() -> None:
    fragmented = structs.replace(_state(), ledger=Ledger(foreign=(Foreign(name="x", cpus=CpuSet.of(3)),)))
    index = _index(_entry("whole"), _entry("fragmented", fragmented))
    settings = structs.replace(SETTINGS, top=1)
    assert _first(index, pinned(1), settings=settings) == "fragmented"
    answer = fit(pinned(1), _state())
    assert isinstance(answer, Fit)
    assert broken_cores(count_host(_state()), answer) == 1
    assert broken_cores(count_host(fragmented), fit(pinned(1), fragmented)) == 0  # type: ignore[arg-type]


def test_replicas_spread_guests_over_the_top_few_and_agree_on_each() -> None:
    entries = [_entry(f"c{number:02}") for number in range(5)]
    forth, back = _index(*entries), _index(*entries[::-1])
    chosen = Counter()
    demand = prepare(pinned(2))
    for number in range(60):
        guest = f"guest-{number}"
        first = _first(forth, pinned(2), guest=guest)
        chosen[first] += 1
        found = decide(forth, guest, demand, Conditions(), SETTINGS)
        assert found == decide(forth, guest, demand, Conditions(), SETTINGS)
        assert len(decide(back, guest, demand, Conditions(), SETTINGS)) == 5
    assert len(chosen) >= 3


def test_every_candidate_is_offered_after_the_top_few() -> None:
    index = _index(*(_entry(f"c{number:02}") for number in range(6)))
    found = decide(index, GUEST, prepare(pinned(2)), Conditions(), SETTINGS)
    assert {one.name for one in found} == {f"c{number:02}" for number in range(6)}


def test_hosts_that_the_filter_could_not_drop_are_all_fitted_before_a_refusal() -> None:
    # Two guest cells fit no host of which each cell alone has room for one but memory only in sum.
    index = _index(*(_entry(f"c{number:02}") for number in range(50)), _entry("big", _state(shared="0")))
    found = decide(index, GUEST, prepare(pinned(8)), Conditions(), SETTINGS)
    assert found


def test_conditions_leave_only_the_hosts_that_they_name() -> None:
    index = _index(*(_entry(f"c{number:02}") for number in range(4)))
    having = frozenset({"id-c01", "id-c02"})
    conditions = Conditions(
        hosts=frozenset({"id-c01", "id-c02", "id-c03"}),
        exclude=frozenset({"id-c02"}),
        required=(("CUSTOM_FAST", having),),
        forbidden=(("CUSTOM_OLD", frozenset({"id-c00"})),),
    )
    assert [one.name for one in decide(index, GUEST, prepare(pinned(2)), conditions, SETTINGS)] == ["c01"]
    told, considered = explain(index, prepare(pinned(99)), conditions, {})
    assert considered == 2
    assert [one.sentence().partition(";")[0] for one in told][1] == "c03: the host lacks the trait CUSTOM_FAST"


def test_every_refused_host_says_why() -> None:
    full = _fill(_state(), pinned(7), 1)
    full = _fill(full, pinned(1), 0)
    no_pool = structs.replace(_state(), pools=Pools(shared=CpuSet.parse("0-15"), dedicated=CpuSet(), overhead=None))
    index = _index(
        _entry("a-down", up=False),
        _entry("b-disabled", disabled=True, disabled_reason="broken fan"),
        _entry("c-fenced", fenced=True),
        _entry("d-full", full),
        _entry("e-none", no_pool),
    )
    assert decide(index, GUEST, prepare(pinned(8)), Conditions(), SETTINGS) == ()
    told, considered = explain(index, prepare(pinned(8)), Conditions(), {})
    assert considered == 5
    assert [(one.name, one.no_fit.reasons[0].code) for one in told[:3]] == [
        ("a-down", ReasonCode.HOST_DOWN),
        ("b-disabled", ReasonCode.HOST_DISABLED),
        ("c-fenced", ReasonCode.HOST_DOWN),
    ]
    assert told[1].sentence() == "b-disabled: the host is disabled: broken fan"
    assert {reason.code for reason in told[3].no_fit.reasons} & {ReasonCode.DEDICATED_PCPUS, ReasonCode.CELL_COMBINATION}
    assert told[4].no_fit.reasons[0].code is ReasonCode.NO_DEDICATED_POOL
    assert preview(index, prepare(pinned(8)), Conditions(), SETTINGS).refusals == told


def test_no_host_at_all_is_no_candidate() -> None:
    assert decide(Index(), GUEST, prepare(pinned(1)), Conditions(), SETTINGS) == ()
    assert explain(Index(), prepare(pinned(1)), Conditions(), {}) == ((), 0)


def test_a_refusal_that_others_were_faster_gives_way_to_what_lacks_by_now() -> None:
    full = _entry("full", _fill(_state(revision=9), pinned(6), 2))
    faster = NoFit(reasons=(Reason(code=ReasonCode.STALE, kind=Kind.INSUFFICIENT, needed=5),))
    known = {one: HostRefusal(host=one, name=one.removeprefix("id-"), revision=4, no_fit=faster) for one in ("id-full", "id-roomy")}
    told, _ = explain(_index(full, _entry("roomy", _state(revision=9))), prepare(pinned(4)), Conditions(), known)
    assert [(one.name, one.revision) for one in told] == [("full", 11), ("roomy", 4)]
    assert ReasonCode.STALE not in {reason.code for reason in told[0].no_fit.reasons}
    assert told[1] == known["id-roomy"]
