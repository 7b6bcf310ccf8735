"""`python -m tests.oracle.show SEED:NUMBER`: one case in words, the oracle's answer and the engine's, to look into a disagreement."""

from __future__ import annotations

import sys

from tests.oracle.compare import disagreements, load_engine
from tests.oracle.generate import Case, case
from tests.oracle.oracle import feasible, feasible_in
from tests.oracle.room import at_best, read


def describe(one: Case) -> str:
    """The case's request and host, one fact a line."""
    request, state, room = one.request, one.state, read(one.state)
    asked = (
        f"{request.vcpus} vCPUs, {request.memory_mib} MiB, {request.disk_gib} GiB, cpu {request.cpu_policy.value}, "
        f"thread {request.thread_policy.value}, emulator {request.emulator_policy.value}, realtime {request.realtime}, "
        f"page {request.page.kind.value} {request.page.size_kib or ''}, {request.disks} disks, {request.nics} nics, "
        f"traits {sorted(request.traits_required)} not {sorted(request.traits_forbidden)}"
    )
    pools = f"shared {state.pools.shared}, dedicated {state.pools.dedicated}, overhead {state.pools.overhead}"
    lines = [
        f"case {one.seed}, strategy {one.strategy.value}",
        f"request: {asked}",
        *(f"  guest cell {cell.id}: dedicated {cell.dedicated} shared {cell.shared}, {cell.memory_mib} MiB" for cell in request.cells),
        f"host: {pools}, traits {sorted(state.traits)}, disk {state.disk_gib}",
        f"  {state.limits}",
        f"  host's lines: {room.floating} vCPUs float, {float(room.small_memory)} MiB small left, {room.overhead_booked} millicpu booked",
    ]
    for cell in room.cells:
        cores = " ".join("".join(f"{pcpu}{'' if pcpu in cell.free else '-'}/" for pcpu in sorted(core)).rstrip("/") for core in cell.cores)
        pages = ", ".join(f"{page.size_kib}: {page.free}{' KiB' if page.small else ''}" for page in cell.pages)
        lines.append(f"  host cell {cell.id}: cores {cores} (- not free), shared {sorted(cell.shared)} with {cell.floating}, pages {pages}")
    lines += [f"  foreign: {foreign}" for foreign in state.ledger.foreign]
    return "\n".join(lines)


def main() -> int:
    """Print the case and both answers; 1 where they disagree."""
    seed, _, number = sys.argv[1].partition(":")
    one = case(int(seed), int(number))
    accepted = feasible(one.request, one.state)
    never = not accepted and not feasible_in(one.request, at_best(one.state))
    print(describe(one))
    print(f"oracle: {'accepts' if accepted else 'refuses'}{', the empty host too' if never else ''}")
    engine = load_engine()
    wrong = disagreements(one, engine, accepted, never)
    print("engine: " + ("; ".join(wrong) or "agrees"))
    if not any(text.startswith("crash") for text in wrong):
        print(engine(one.request, one.state, one.strategy))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
