"""The subject `density`: fleets filled under unset, share and isolate, with pools of 1 to 16 pCPUs, and guests that come and go."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.packing.traces import FOLDER
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.core.encoding import plain
from pinfold.core.hosttext import host
from pinfold.core.request.model import EmulatorPolicy
from pinfold.simulation.inputs import DEFAULT_HOST, MIXES, fleet_of, requests_of
from pinfold.simulation.model import GuestMix, Plan, Setting, SimulatedFleet
from pinfold.simulation.run import simulate

POOLS: Final = (1, 2, 4, 8, 16)
SETTINGS: Final = (
    Setting(policy=EmulatorPolicy.UNSET),
    *(Setting(policy=EmulatorPolicy.SHARE, pool_pcpus=pool) for pool in POOLS),
    Setting(policy=EmulatorPolicy.ISOLATE),
)
_LARGE: Final = (10_000, "pack:2 core:18 mem:73728", 120.0)
"""The fleet of the budget: its hosts, their shape, and the seconds of CPU that 100,000 guests may take."""
_GUESTS: Final = 100_000
_WORDS: Final = """\
Each row fills a fleet of empty hosts with pinned guests, until the first is refused and until nothing fits. The scheduler of the service
decides about each guest, with its default settings. Hosts are of two cells with 24 cores of two threads and 4 GiB for each pCPU; two pCPUs
of each are left to the host itself. unset and isolate need no overhead pool and get none; share gives up the pCPUs of its pool. Guests
have one disk and one NIC, so a `share` guest of 2 vCPUs books 44 of the 1,000 millicpu of each pCPU in the pool. All rows of a mix see the
same requests. A setting that refuses a large guest has room for small ones later, so compare vCPUs rather than guests. *Stranded* pCPUs
are free when nothing fits any more, *for lack of* pCPUs in one place, of memory beside them or of room in the overhead pool. The pool here
is of overhead alone: where floating vCPUs use it too, as Nova's `cpu_shared_set`, half of each pCPU counts unless `shared_fraction` says
otherwise, and the same guests need twice the pCPUs. `pinfold simulate` does the same for any fleet: [simulate a
fleet](../how-to/simulate-a-fleet.md)."""
_TRACES: Final = """\
The hosts and requests of [production traces](../../benchmarks/packing/traces/README.md), in order; groups and fault domains are left out.
No pCPU is left to the host, because the trace tells what is free for guests. Hosts with four pCPUs or fewer are left out."""


def measure(size: Size, seed: int) -> Figures:
    """Every mix under every setting, the traces, guests that come and go, and the time of a large fleet."""
    hosts = {Size.CHECK: 2, Size.SMALL: 20, Size.LONG: 100}[size]
    fleet = SimulatedFleet(hosts=hosts, topologies=(host(DEFAULT_HOST),))
    churn = {Size.CHECK: 20, Size.SMALL: 2_000, Size.LONG: 20_000}[size]
    mixes = [_simulated(mix, fleet, seed, SETTINGS) for mix in MIXES.values()]
    three = (SETTINGS[0], SETTINGS[3], SETTINGS[-1])
    churned = _simulated(MIXES["mixed"], fleet, seed, three, churn=churn)
    names = {Size.CHECK: (), Size.SMALL: ("c1",), Size.LONG: ("c1", "c2", "c3")}[size]
    traces = [_trace(name, seed) for name in names]
    return {"mixes": mixes, "churned": churned, "traces": traces, "large": _large(seed, size)}


def _simulated(mix: GuestMix, fleet: SimulatedFleet, seed: int, settings: tuple[Setting, ...], churn: int = 0) -> dict[str, Any]:
    print(f"mix {mix.name}, {fleet.hosts} hosts", flush=True)
    found: dict[str, Any] = plain(simulate(Plan(fleet=fleet, mix=mix, settings=settings, seed=seed, churn=churn)))
    return found


def _trace(name: str, seed: int) -> dict[str, Any]:
    topologies = tuple(one for one in fleet_of((FOLDER / "hosts.csv").read_text(), "hosts.csv").topologies if len(one.online) > 4)
    fleet = SimulatedFleet(hosts=len(topologies), topologies=topologies, reserve=0)
    mix = requests_of((FOLDER / f"{name}.csv").read_text(), name)
    return _simulated(mix, fleet, seed, (SETTINGS[0], SETTINGS[2], SETTINGS[3], SETTINGS[-1]))


def _large(seed: int, size: Size) -> dict[str, Any]:
    """Fill the fleet of the budget under one setting; a hundredth of it unless the run is long."""
    hosts, text, _ = _LARGE
    fleet = SimulatedFleet(hosts=hosts if size is Size.LONG else 50, topologies=(host(text),))
    began = time.process_time()
    found = simulate(Plan(fleet=fleet, mix=MIXES["mixed"], settings=(SETTINGS[2],), seed=seed))
    return {"hosts": fleet.hosts, "guests": found.results[0].full.guests, "cpu_seconds": round(time.process_time() - began, 2)}


def page(figures: Figures) -> Page:
    """Tables, plots and the budget."""
    large = figures["large"]
    spent = large["cpu_seconds"] / large["guests"] * _GUESTS
    whole = large["hosts"] == _LARGE[0]
    budgets = (
        [
            Budget(
                what=f"CPU for 100,000 guests on 10,000 hosts, at the rate of the {large['guests']:,} that fit",
                measured=spent,
                bound=_LARGE[2],
                unit="s",
            )
        ]
        if whole
        else []
    )
    body: list[str | Plot] = [*_WORDS.splitlines(), ""]
    for found in figures["mixes"]:
        body += [f"## Mix {found['mix']}", "", f"{found['hosts']:,} hosts. Shapes: {'; '.join(found['shapes'])}.", ""]
        body += [*_table(found), "", *(f"- {sentence}" for sentence in found["sentences"]), ""]
    body += [_pools_plot(figures["mixes"]), "", *_churn(figures["churned"])]
    if figures["traces"]:
        body += ["", "## Production traces", "", *_TRACES.splitlines()]
        for found in figures["traces"]:
            body += [
                "",
                f"Trace {found['mix']}, {found['hosts']:,} hosts:",
                "",
                *_table(found),
                "",
                *(f"- {one}" for one in found["sentences"]),
            ]
    body += [
        "",
        "## The time that it takes",
        "",
        f"{large['guests']:,} guests on {large['hosts']:,} hosts of 36 pCPUs, mix mixed, share with 2: {large['cpu_seconds']:,} s of CPU.",
    ]
    return Page(body=body, budgets=budgets)


def _table(found: dict[str, Any]) -> list[str]:
    rows = []
    for one in found["results"]:
        lost = ", ".join(f"{cause['cause']} {cause['pcpus']:,}" for cause in one["stranded"])
        first, full = one["first"], one["full"]
        rows.append(
            (
                _name(one["setting"]),
                one["dedicated_pcpus"],
                f"{first['guests']:,} / {first['vcpus']:,}",
                f"{full['guests']:,} / {full['vcpus']:,}",
                one["emulator_pcpus"],
                one["free_pcpus"],
                lost,
            )
        )
    heads = (
        "policy",
        "pCPUs for vCPUs",
        "guests / vCPUs at the first refusal",
        "in the end",
        "pCPUs of emulators",
        "stranded pCPUs",
        "for lack of",
    )
    return table(heads, rows)


def _name(setting: dict[str, Any]) -> str:
    return f"share, pool of {setting['pool_pcpus']}" if setting["pool_pcpus"] else str(setting["policy"])


def _pools_plot(mixes: list[dict[str, Any]]) -> Plot:
    """vCPUs in the end, as a share of unset."""
    series = []
    for found in mixes:
        base = next(one["full"]["vcpus"] for one in found["results"] if one["setting"]["policy"] == "unset")
        shown = {
            _name(one["setting"]): 100 * one["full"]["vcpus"] / base for one in found["results"] if one["setting"]["policy"] != "unset"
        }
        series.append(Series(label=f"mix {found['mix']}", x=[name.replace(", pool of", "\n") for name in shown], y=list(shown.values())))
    return Plot(
        name="density-pools",
        title="vCPUs that fit in the end, in % of those of unset",
        x_label="policy, with the pCPUs of each host's overhead pool",
        y_label="% of unset",
        bars=True,
        series=series,
    )


def _churn(found: dict[str, Any]) -> list[str | Plot]:
    series, rows = [], []
    for one in found["results"]:
        samples = one["churn"]
        shares = [100 * one["usable_pcpus"] / one["free_pcpus"] if one["free_pcpus"] else 100.0 for one in samples]
        series.append(Series(label=_name(one["setting"]), x=[sample["events"] for sample in samples], y=shares))
        rows.append(
            (
                _name(one["setting"]),
                samples[0]["vcpus"],
                samples[-1]["refused"],
                round(shares[0], 1),
                round(shares[-1], 1),
                round(min(shares), 1),
            )
        )
    plot = Plot(
        name="density-churn",
        title="Free pCPUs that the largest guests of the mix can take",
        x_label="arrivals and departures",
        y_label="% of the free pCPUs",
        series=series,
    )
    heads = ("policy", "vCPUs that run", "arrivals refused", "usable at first, %", "in the end, %", "at least, %")
    words = """\
## Guests that come and go

Mix mixed. From the full fleet random guests end until 90 % of the vCPUs are left; then a guest arrives whenever fewer run, and otherwise
a random one ends, {events:,} times in all. Usable are free pCPUs that the mix's largest guests (16 vCPUs on two cells) can take."""
    events = max((sample["events"] for one in found["results"] for sample in one["churn"]), default=0)
    return [*words.format(events=events).splitlines(), "", *table(heads, rows), "", plot]


DENSITY: Final = Subject(
    name="density",
    title="Density",
    measure=measure,
    page=page,
    limits="""\
It counts places, not speed: how long overhead threads wait in a pool of a given size is on [the page of overhead](overhead.md), and a
pool that holds many guests by their booked millicpu is only as good as the rates. Nothing is random but the requests, which all settings
share, so a row has no spread; another seed gives other requests. Live migration, failed hosts and lifetimes by kind are not simulated.""",
)
