"""`python -m benchmarks.fit.run`: measure both sides in turns, count where they disagree, write the page; status 1 on a missed budget."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from pathlib import Path

from benchmarks.fit.agreement import Agreement, compare_random
from benchmarks.fit.environment import ROOT, Worker, nova_python
from benchmarks.fit.report import EIGHT_BUDGET, STANDARD_BUDGET, Result, Timing, markdown, summary
from benchmarks.fit.scenarios import POLICIES, Scenario, eight_cell_refusals, host, scenario, standard


def measure(nova: Worker, ours: Worker, scenarios: list[Scenario], rounds: int, agreement: Agreement, limit_s: float) -> tuple[Timing, ...]:
    """Each scenario's timing: both sides asked in turns, one scenario after the other, `rounds` times over all."""
    answers = []
    for one in scenarios:
        own, other = ours.ask("decide", one), nova.ask("decide", one, limit_s)
        assert own is not None
        if other is not None:
            agreement.add(one, own, other)
        answers.append((own["accepted"], None if other is None else other["accepted"]))
    own_ns: list[list[float]] = [[] for _ in scenarios]
    explained_ns: list[list[float]] = [[] for _ in scenarios]
    changed_ns: list[list[float]] = [[] for _ in scenarios]
    nova_ns: list[list[float]] = [[] for _ in scenarios]
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}, {len(scenarios)} cases", flush=True)
        for index, one in enumerate(scenarios):
            if answers[index][1] is not None and (timed := nova.ask("time", one)) is not None:
                nova_ns[index].append(timed["ns"])
            timed = ours.ask("time", one)
            assert timed is not None
            own_ns[index].append(timed["ns"])
            explained_ns[index].append(timed["explained_ns"])
            changed_ns[index].append(timed["changed_ns"])
    return tuple(
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
        )
        for index, (one, (accepted, nova_accepted)) in enumerate(zip(scenarios, answers, strict=True))
    )


def aside(nova: Worker, ours: Worker) -> tuple[tuple[str, float | None, float | None], ...]:
    """What stands outside the decision, on a host of four cells, half full, for two guest cells."""
    from random import Random

    group = "dedicated, emulator share"
    one = scenario("aside", group, host(Random("aside"), 4, 0.5), 0.5, 2, 2, POLICIES[group])
    theirs, own, timed = nova.ask("aside", one), ours.ask("aside", one), ours.ask("time", one)
    assert theirs is not None
    assert own is not None
    assert timed is not None
    return (
        ("read the flavor", theirs["request"], own["request"]),
        ("copy the guest's topology", theirs["copy"], None),
        ("parse the host's topology", theirs["host"], None),
        ("decide on a host that has just changed", None, timed["changed_ns"]),
        ("first decision of a request", None, own["first"]),
    )


def main() -> int:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit.run", description="Time the engine beside Nova's own fit.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=5, help="every n-th standard case; 1 takes all and long")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds after which Nova is stopped on an eight-cell refusal")
    parser.add_argument("--random", type=int, default=3000, help="random cases for the count of disagreements")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks" / "fit.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end with the runner, however it ends
    nova = Worker(nova_python(), "benchmarks.fit.nova_worker", ROOT)
    ours = Worker(Path(sys.executable), "benchmarks.fit.own_worker", ROOT, ROOT / "src")
    standard_agreement, eight_agreement = Agreement(), Agreement()
    scenarios = list(standard())
    try:
        result = Result(
            standard=measure(nova, ours, scenarios[:: options.every], options.rounds, standard_agreement, options.limit),
            eight=measure(nova, ours, list(eight_cell_refusals()), options.rounds, eight_agreement, options.limit),
            available=len(scenarios),
            limit_s=options.limit,
            rounds=options.rounds,
            agreement=compare_random(nova, ours, options.random, options.seed),
            standard_agreement=standard_agreement,
            eight_agreement=eight_agreement,
            aside=aside(nova, ours),
            versions={**nova.versions, **ours.versions},
        )
    finally:
        nova.close()
        ours.close()
    page = markdown(result)
    options.report.write_text(page, encoding="utf-8")
    print(page, summary(result), sep="\n")
    return 0 if result.standard_ratio() >= STANDARD_BUDGET and result.eight_ratio() >= EIGHT_BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
