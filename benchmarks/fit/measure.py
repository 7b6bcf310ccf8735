"""Ask both sides in turns, and count where they disagree. What the page says belongs to `page`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.agent import starts
from benchmarks.fit.agreement import Agreement, compare_random
from benchmarks.fit.environment import ROOT, Worker, nova_python
from benchmarks.fit.scenarios import POLICIES, Scenario, eight_cell_refusals, host, scenario, standard
from benchmarks.overhead.page import lacks
from benchmarks.subject import Figures, Size
from pinfold.lab import rom


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One scenario's medians in ns; `nova_ns` None where Nova did not end in time.

    `explained_ns` is ours with the reasons of a refusal read, `claimed_ns` ours with one claim more or less, `changed_ns` ours on a state
    that is counted from nothing.
    """

    name: str
    group: str
    host_cells: int
    fill: float
    guest_cells: int
    accepted: bool
    nova_accepted: bool | None
    nova_ns: float | None
    ours_ns: float
    explained_ns: float
    claimed_ns: float
    changed_ns: float

    def ratio(self, limit_s: float) -> float:
        """How many times as long Nova took, at least."""
        return self.nova_at_least(limit_s) / self.ours_ns

    def nova_at_least(self, limit_s: float) -> float:
        """Nova's ns, or the limit at which it was stopped."""
        return self.nova_ns if self.nova_ns is not None else limit_s * 1e9


def measure(size: Size, seed: int) -> Figures:
    """Everything that the page needs. A check does without Nova, whose environment takes a minute to make."""
    rounds, every, limit_s, drawn = {Size.CHECK: (1, 250, 1.0, 0), Size.SMALL: (1, 25, 1.0, 300), Size.LONG: (3, 5, 20.0, 3000)}[size]
    nova = None if size is Size.CHECK else Worker(nova_python(), "benchmarks.fit.nova_worker", ROOT)
    ours = Worker(Path(sys.executable), "benchmarks.fit.own_worker", ROOT, ROOT / "src")
    agreements = {name: Agreement() for name in ("standard", "eight")}
    scenarios = list(standard())
    hard = [] if size is Size.CHECK else list(eight_cell_refusals())[:: 1 if size is Size.LONG else 3]
    try:
        return {
            "standard": timings(nova, ours, scenarios[::every], rounds, agreements["standard"], limit_s),
            "eight": timings(nova, ours, hard, rounds, agreements["eight"], limit_s),
            "available": len(scenarios),
            "limit_s": limit_s,
            "rounds": rounds,
            "agreements": {
                "standard": agreements["standard"].written(),
                "random": (compare_random(nova, ours, drawn, seed) if nova else Agreement()).written(),
                "eight": agreements["eight"].written(),
            },
            "aside": aside(nova, ours),
            "start": {} if size is Size.CHECK or lacks() else start(6 if size is Size.SMALL else 30),
            "versions": {**(nova.versions if nova else {"nova": "(not asked)"}), **ours.versions},
        }
    finally:
        if nova:
            nova.close()
        ours.close()


def timings(
    nova: Worker | None, ours: Worker, scenarios: list[Scenario], rounds: int, agreement: Agreement, limit_s: float
) -> list[dict[str, Any]]:
    """Each scenario's timing: both sides asked in turns, one scenario after the other, `rounds` times over all."""
    answers = []
    print(f"the answers of {len(scenarios)} cases", flush=True)
    for one in scenarios:
        own, other = ours.ask("decide", one), nova.ask("decide", one, limit_s) if nova else None
        assert own is not None
        if other is not None:
            agreement.add(one, own, other)
        answers.append((own["accepted"], None if other is None else other["accepted"]))
    own_ns: list[list[float]] = [[] for _ in scenarios]
    explained_ns: list[list[float]] = [[] for _ in scenarios]
    changed_ns: list[list[float]] = [[] for _ in scenarios]
    claimed_ns: list[list[float]] = [[] for _ in scenarios]
    nova_ns: list[list[float]] = [[] for _ in scenarios]
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}, {len(scenarios)} cases", flush=True)
        for index, one in enumerate(scenarios):
            if nova and answers[index][1] is not None and (timed := nova.ask("time", one)) is not None:
                nova_ns[index].append(timed["ns"])
            timed = ours.ask("time", one)
            assert timed is not None
            own_ns[index].append(timed["ns"])
            explained_ns[index].append(timed["explained_ns"])
            changed_ns[index].append(timed["changed_ns"])
            claimed_ns[index].append(timed["claimed_ns"])
    return [
        asdict(
            Timing(
                name=one.name,
                group=one.group,
                host_cells=len(one.cells),
                fill=one.fill,
                guest_cells=one.guest_cells,
                accepted=accepted,
                nova_accepted=nova_accepted,
                nova_ns=statistics.median(nova_ns[index]) if nova_ns[index] else None,
                ours_ns=statistics.median(own_ns[index]),
                explained_ns=statistics.median(explained_ns[index]),
                changed_ns=statistics.median(changed_ns[index]),
                claimed_ns=statistics.median(claimed_ns[index]),
            )
        )
        for index, (one, (accepted, nova_accepted)) in enumerate(zip(scenarios, answers, strict=True))
    ]


def aside(nova: Worker | None, ours: Worker) -> list[tuple[str, float | None, float | None]]:
    """What stands outside the decision, on a host of four cells, half full, for two guest cells."""
    print("beside the decision", flush=True)
    group = "dedicated, emulator share"
    one = scenario("aside", group, host(Random("aside"), 4, 0.5), 0.5, 2, 2, POLICIES[group])
    theirs, own, timed = nova.ask("aside", one) if nova else {}, ours.ask("aside", one), ours.ask("time", one)
    assert theirs is not None
    assert own is not None
    assert timed is not None
    return [
        ("read the flavor", theirs.get("request"), own["request"]),
        ("copy the guest's topology", theirs.get("copy"), None),
        ("parse the host's topology", theirs.get("host"), None),
        ("decide on a host with one claim more", None, timed["claimed_ns"]),
        ("decide on a host that is counted from nothing", None, timed["changed_ns"]),
        ("first decision of a request", None, own["first"]),
    ]


def start(rounds: int) -> dict[str, Any]:
    """The median of so many starts of a real guest on this host, and of the fit in them, in ms."""
    print(f"{rounds} starts of a guest", flush=True)
    with tempfile.TemporaryDirectory(prefix="pf-fit-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        found = starts.measure(folder, rom.write(folder / "probe.rom"), rounds)
    return {"rounds": rounds, "start_ms": statistics.median(found.ours), "fit_ms": statistics.median(found.steps["fit"])}
