"""The metrics of the watch in Prometheus' text format, made of its state. The library escapes the names of guests.

Base units. A guest's series carry its id, and `pinfold_guest_info` joins it to the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pinfold import __version__
from pinfold.core.drift import Severity
from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.printable import cleaned
from pinfold.watch.snapshot import Snapshot
from pinfold.watch.state import State

_NS: Final = 1_000_000_000


class Kind(Enum):
    """The type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"


_GUEST_CLASS: Final = ("id", "class")

METRICS: Final = {
    "pinfold_watch_info": (Kind.GAUGE, "Always 1: pinfold's version and what it watches.", ("version", "host", "uri")),
    "pinfold_sweeps_total": (Kind.COUNTER, "Sweeps, by result: `ok` or `failed`.", ("result",)),
    "pinfold_sweep_duration_seconds": (Kind.GAUGE, "How long the last sweep took.", ()),
    "pinfold_last_sweep_timestamp_seconds": (
        Kind.GAUGE,
        "When the last sweep that succeeded ended, in seconds since the epoch. The metrics below are of that sweep.",
        (),
    ),
    "pinfold_guests_unread": (Kind.GAUGE, "Guests that could not be read.", ()),
    "pinfold_guest_info": (
        Kind.GAUGE,
        "Always 1: a guest's name, its server's name, who created it (`pinfold`, `nova` or `other`), its emulator policy and its state.",
        ("id", "guest", "server", "origin", "policy", "state"),
    ),
    "pinfold_guest_vcpus": (Kind.GAUGE, "vCPUs of a guest.", ("id",)),
    "pinfold_guest_run_seconds_total": (Kind.COUNTER, "CPU time of a guest's threads, by thread class.", _GUEST_CLASS),
    "pinfold_guest_run_delay_seconds_total": (
        Kind.COUNTER,
        "How long a guest's threads were ready to run and waited for a pCPU, by thread class.",
        _GUEST_CLASS,
    ),
    "pinfold_guest_slices_total": (Kind.COUNTER, "How often a guest's threads were put on a pCPU, by thread class.", _GUEST_CLASS),
    "pinfold_guest_ended_run_seconds_total": (
        Kind.COUNTER,
        "CPU time of a guest's threads that began or ended between two sweeps, as far as no class has it. How long they waited is lost.",
        ("id",),
    ),
    "pinfold_pcpu_info": (
        Kind.GAUGE,
        "Always 1: a pCPU's NUMA cell, core (its lowest pCPU), socket and pool; `overhead` says whether it is in the overhead pool too.",
        ("pcpu", "cell", "core", "socket", "pool", "overhead"),
    ),
    "pinfold_pcpu_owner": (
        Kind.GAUGE,
        "Always 1: a guest that has this pCPU, and what for: `vcpu`, `emulator` or `idle-sibling`. Two series for a pCPU are two owners.",
        ("pcpu", "id", "guest", "class"),
    ),
    "pinfold_pcpu_run_seconds_total": (Kind.COUNTER, "How long a pCPU was busy. The kernel counts in ticks.", ("pcpu",)),
    "pinfold_pcpu_run_delay_seconds_total": (Kind.COUNTER, "Waiting of guests' threads that may run on this pCPU alone.", ("pcpu",)),
    "pinfold_pcpu_others_run_seconds_total": (
        Kind.COUNTER,
        "How long a pCPU with one owner ran anything but the threads that own it: host, other guests, the guest's own emulator threads.",
        ("pcpu",),
    ),
    "pinfold_pool_cpus": (Kind.GAUGE, "Online pCPUs of a pool.", ("pool",)),
    "pinfold_pool_capacity_cpus": (
        Kind.GAUGE,
        "What may be booked of a pool, in pCPUs. A pCPU in the shared and the overhead pool counts in both by `shared_fraction`.",
        ("pool",),
    ),
    "pinfold_pool_booked_cpus": (
        Kind.GAUGE,
        "What is booked of a pool, in pCPUs: those held, floating vCPUs by the allocation ratio, overhead by the rates (Nova's, too).",
        ("pool",),
    ),
    "pinfold_pool_guests": (Kind.GAUGE, "Running guests with threads that are confined to a pool.", ("pool",)),
    "pinfold_pool_run_seconds_total": (Kind.COUNTER, "How long the pCPUs of a pool were busy while they were in it.", ("pool",)),
    "pinfold_pool_run_delay_seconds_total": (Kind.COUNTER, "Waiting of guests' threads that are confined to a pool.", ("pool",)),
    "pinfold_free_slots": (
        Kind.GAUGE,
        "How many more guests of a flavor of the flavors file fit, if the host were filled with it alone.",
        ("flavor",),
    ),
    "pinfold_stranded_cpus": (
        Kind.GAUGE,
        "Free dedicated pCPUs that no flavor of the file can use, by the resource that lacks beside them.",
        ("cause",),
    ),
    "pinfold_drift": (
        Kind.GAUGE,
        "Findings that break a promise, by thread class ('' where none applies) and code.",
        ("class", "code"),
    ),
    "pinfold_repairs_total": (
        Kind.COUNTER,
        "Repairs, by thread class ('' for a definition alone) and result: `done`, `failed`, or `undone` by somebody else afterwards.",
        ("class", "result"),
    ),
    "pinfold_notes": (Kind.GAUGE, "Findings that break no promise, by thread class and code.", ("class", "code")),
}
"""Every metric of the watch: its type, meaning and labels."""


def render(state: State) -> bytes:
    """The metrics of the watch, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Watch(state))
    return generate_latest(registry)


Row = tuple[str, tuple[str, ...], float]
"""One number: the metric's name, the values of its labels, the number."""


class _Watch(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        families = {name: _family(name) for name in METRICS}
        for name, labels, value in rows(self._state):
            families[name].add_metric([cleaned(label) for label in labels], value)
        yield from families.values()


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    kind, text, labels = METRICS[name]
    if kind is Kind.COUNTER:
        return CounterMetricFamily(name, text, labels=labels)
    return GaugeMetricFamily(name, text, labels=labels)


def rows(state: State) -> Iterator[Row]:
    """Every number. Without a sweep that succeeded there is only what the watch knows of itself."""
    yield "pinfold_watch_info", (__version__, state.settings.host, state.settings.uri), 1.0
    yield "pinfold_sweeps_total", ("ok",), float(state.sweeps)
    yield "pinfold_sweeps_total", ("failed",), float(state.failed_sweeps)
    for labels, number in sorted(state.repairs.items()):
        yield "pinfold_repairs_total", labels, float(number)
    if state.snapshot is None:
        return
    yield "pinfold_sweep_duration_seconds", (), state.sweep_seconds
    yield "pinfold_last_sweep_timestamp_seconds", (), state.swept_time
    yield "pinfold_guests_unread", (), float(state.unread)
    yield from _guests(state.snapshot)
    yield from _pcpus(state.snapshot)
    yield from _pools(state.snapshot)
    yield from _findings(state.snapshot)
    yield from () if state.capacity is None else _left(state.capacity)
    yield from _used(state)


def _guests(snapshot: Snapshot) -> Iterator[Row]:
    for guest in snapshot.guests:
        yield "pinfold_guest_info", (guest.id, guest.name, guest.server, guest.origin, guest.policy, guest.state), 1.0
        yield "pinfold_guest_vcpus", (guest.id,), float(guest.vcpus)


def _pcpus(snapshot: Snapshot) -> Iterator[Row]:
    for pcpu in snapshot.pcpus:
        where = tuple("" if place is None else str(place) for place in (pcpu.cell, pcpu.core, pcpu.socket))
        yield "pinfold_pcpu_info", (str(pcpu.pcpu), *where, pcpu.pool, "true" if pcpu.overhead else "false"), 1.0
        for owner in pcpu.owners:
            yield "pinfold_pcpu_owner", (str(pcpu.pcpu), owner.id, owner.guest, owner.role), 1.0


def _pools(snapshot: Snapshot) -> Iterator[Row]:
    for pool in snapshot.pools:
        yield "pinfold_pool_cpus", (pool.name,), float(len(pool.cpus))
        yield "pinfold_pool_capacity_cpus", (pool.name,), pool.capacity
        yield "pinfold_pool_booked_cpus", (pool.name,), pool.booked
        yield "pinfold_pool_guests", (pool.name,), float(pool.guests)


def _left(capacity: HostCapacity) -> Iterator[Row]:
    for one in capacity.flavors:
        yield "pinfold_free_slots", (one.flavor,), float(one.slots)
    for stranded in capacity.stranded:
        yield "pinfold_stranded_cpus", (stranded.cause.value,), float(stranded.pcpus)


def _findings(snapshot: Snapshot) -> Iterator[Row]:
    counted = Counter(
        (
            "pinfold_drift" if finding.severity is Severity.DRIFT else "pinfold_notes",
            "" if finding.thread_class is None else finding.thread_class.value,
            finding.code.value,
        )
        for finding in snapshot.findings
    )
    for (name, *labels), number in sorted(counted.items()):
        yield name, tuple(labels), float(number)


def _used(state: State) -> Iterator[Row]:
    usage = state.usage
    if usage is None:
        return
    for guest, used in sorted(usage.guests.items()):
        for kind, times in used.classes.items():
            labels = (str(guest), kind.value)
            yield "pinfold_guest_run_seconds_total", labels, times.run_ns / _NS
            yield "pinfold_guest_run_delay_seconds_total", labels, times.wait_ns / _NS
            yield "pinfold_guest_slices_total", labels, float(times.slices)
        yield "pinfold_guest_ended_run_seconds_total", (str(guest),), used.ended_ns / _NS
    yield from _numbers("pcpu", ((str(pcpu), one.run_ns, one.wait_ns) for pcpu, one in sorted(usage.pcpus.items())))
    for pcpu, one in sorted(usage.pcpus.items()):
        if one.owned is not None or one.others_ns:
            yield "pinfold_pcpu_others_run_seconds_total", (str(pcpu),), one.others_ns / _NS
    yield from _numbers("pool", ((name, pool.run_ns, pool.wait_ns) for name, pool in sorted(usage.pools.items())))


def _numbers(what: str, used: Iterable[tuple[str, int, int]]) -> Iterator[Row]:
    for label, run, wait in used:
        yield f"pinfold_{what}_run_seconds_total", (label,), run / _NS
        yield f"pinfold_{what}_run_delay_seconds_total", (label,), wait / _NS
