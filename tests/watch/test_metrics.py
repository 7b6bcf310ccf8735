"""The text that Prometheus reads: parsed by its own parser, with hostile names in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.watch.seen import Script, guest, owner, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode
from pinfold.core.drift.written import write
from pinfold.core.fit.capacity import FlavorSlots, HostCapacity, StrandedPcpus
from pinfold.core.fit.slots import Resource
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.printable import cleaned
from pinfold.core.usage import GuestTimes, Sample, ThreadTimes, Times
from pinfold.watch.metrics import METRICS, Kind, render, rows
from pinfold.watch.state import State

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(state: State) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(state).decode())
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series[name, tuple(sorted(labels.items()))]


def sample(run: int, wait: int) -> Sample:
    times = Times(run_ns=run, wait_ns=wait, slices=3)
    thread = ThreadTimes(tid=7, thread_class=ThreadClass.VCPU, allowed=CpuSet.of(2), times=times)
    return Sample(
        guests=(GuestTimes(guest=GuestId("0000-1"), pid=7, start_ticks=1, process_ns=run, threads=(thread,)),),
        busy_ns=((2, run + wait),),
        owned=((2, frozenset({7})),),
        pools=(("dedicated", CpuSet.parse("2-3")),),
    )


def test_what_a_guest_used_is_told_in_seconds_and_joined_to_its_name() -> None:
    watch, web = Script(), guest(1)
    for one in (sample(0, 0), sample(1_500_000_000, 250_000_000)):
        watch.swept(snapshot(web, owners={2: (owner(web),)}), sample=one)
    series = parsed(watch.state)
    assert value(series, "pinfold_guest_run_seconds_total", id=web.id, **{"class": "vcpu"}) == 1.5
    assert value(series, "pinfold_guest_run_delay_seconds_total", id=web.id, **{"class": "vcpu"}) == 0.25
    info = {"id": web.id, "guest": "web1", "server": "", "origin": "nova", "policy": "share", "state": "running"}
    assert value(series, "pinfold_guest_info", **info) == 1.0
    assert value(series, "pinfold_pcpu_owner", pcpu="2", id=web.id, guest="web1", **{"class": "vcpu"}) == 1.0
    assert value(series, "pinfold_pcpu_others_run_seconds_total", pcpu="2") == 0.25
    assert value(series, "pinfold_pool_run_seconds_total", pool="dedicated") == 1.75
    assert value(series, "pinfold_pool_booked_cpus", pool="overhead") == 0.032


def test_drift_is_counted_by_class_and_code_apart_from_notes() -> None:
    found = [
        Finding(code=FindingCode.EMULATOR_THREAD, guest="web", thread_class=ThreadClass.EMULATOR),
        Finding(code=FindingCode.TWO_OWNERS, subject="2"),
        Finding(code=FindingCode.TWO_OWNERS, subject="3", minor=True),
    ]
    watch = Script()
    watch.swept(snapshot(findings=tuple(map(write, found))))
    series = parsed(watch.state)
    assert value(series, "pinfold_drift", code="emulator-thread", **{"class": "emulator"}) == 1.0
    assert value(series, "pinfold_drift", code="two-owners", **{"class": ""}) == 1.0
    assert value(series, "pinfold_notes", code="two-owners", **{"class": ""}) == 1.0


def test_free_slots_and_stranded_pcpus_are_told_by_flavor_and_cause() -> None:
    left = HostCapacity(
        host="c01",
        takes_guests=True,
        dedicated_pcpus=2,
        free_pcpus=2,
        flavors=(FlavorSlots(flavor="rt", slots=1),),
        stranded=(StrandedPcpus(cause=Resource.SIBLINGS, pcpus=1),),
    )
    watch = Script()
    watch.swept(capacity=left)
    series = parsed(watch.state)
    assert value(series, "pinfold_free_slots", flavor="rt") == 1.0
    assert value(series, "pinfold_stranded_cpus", cause="siblings") == 1.0


def test_a_watch_that_has_seen_nothing_tells_of_itself_alone() -> None:
    assert {name for name, _, _ in rows(Script().state)} == {"pinfold_watch_info", "pinfold_sweeps_total"}


@given(name=st.text(st.characters(exclude_categories=())))
def test_any_name_of_a_guest_is_a_value_and_nothing_else(name: str) -> None:
    web = guest(1, name="x" + name)
    watch = Script()
    watch.swept(snapshot(web, owners={2: (owner(web),)}))
    found = [dict(labels)["guest"] for (metric, labels) in parsed(watch.state) if metric == "pinfold_guest_info"]
    assert found == [cleaned("x" + name)]


def test_metrics_follow_the_conventions() -> None:
    for name, (kind, text, labels) in METRICS.items():
        assert name.startswith("pinfold_")
        assert (kind is Kind.COUNTER) == name.endswith("_total")
        assert text.endswith("."), name
        assert len(set(labels)) == len(labels)
        assert "milli" not in name
