"""`examine`: one case put to the engine and to the oracle, with all that the report counts. Making cases and printing are elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.boundary import near_boundary
from tests.oracle.generate import Case
from tests.oracle.oracle import feasible_in, is_small
from tests.oracle.preferences import unpreferred
from tests.oracle.room import at_best, read
from tests.oracle.valid import valid

from pinfold.core.fit.answer import Fit, NoFit, Strategy
from pinfold.core.host import HostState
from pinfold.core.reasons import Kind
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestRequest, ThreadPolicy

Engine = Callable[[GuestRequest, HostState, Strategy], Fit | NoFit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one case showed. `wrong` are the disagreements, `tags` what the case covers."""

    seed: str
    accepted: bool
    small: bool
    near: bool
    never: bool
    wrong: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]


def load_engine() -> Engine:
    """The engine under test; imported late, so that the oracle alone never needs it."""
    from pinfold.core.fit.engine import fit

    return fit


def examine(case: Case, engine: Engine | None) -> Outcome:
    """The case's outcome; `engine` None asks the oracle alone."""
    request, state = case.request, case.state
    room = read(state)
    accepted = feasible_in(request, room)
    never = not accepted and not feasible_in(request, at_best(state))
    small = is_small(room)
    return Outcome(
        seed=case.seed,
        accepted=accepted,
        small=small,
        near=small and near_boundary(request, room, accepted),
        never=never,
        wrong=() if engine is None else tuple(disagreements(case, engine, accepted, never)),
        tags=tags(case),
    )


def disagreements(case: Case, engine: Engine, accepted: bool, never: bool) -> list[str]:
    """What the engine's answer has wrong, given the oracle's; `never` is whether the host at its best refuses too."""
    try:
        answer = engine(case.request, case.state, case.strategy)
        if isinstance(answer, NoFit):
            _ = answer.reasons  # worked out when read
    except Exception as error:  # a crash is a disagreement like any other, and the run goes on
        return [f"crash, where {'a' if accepted else 'no'} placement exists: {type(error).__name__}: {error}"]
    if isinstance(answer, Fit):
        wrong = [f"invalid: {text}" for text in valid(case.request, case.state, answer)]
        if not accepted:
            wrong.append("unsound: the engine accepts, no placement exists")
        if not wrong:
            wrong = [f"preference: {text}" for text in unpreferred(case.request, case.state, case.strategy, answer)]
        return wrong
    wrong = []
    if accepted:
        wrong.append(f"incomplete: the engine refuses ({answer.sentence()}), a placement exists")
    if not answer.reasons:
        wrong.append("reasons: none")
    elif not accepted and (answer.kind is Kind.INFEASIBLE) != never:
        wrong.append(f"kind: {answer.kind.value} ({answer.sentence()}), the empty host {'refuses' if never else 'accepts'}")
    return wrong


def tags(case: Case) -> tuple[tuple[str, str], ...]:
    """The dimensions of a case: its policies, and the shape of guest and host."""
    request, state = case.request, case.state
    realtime = "none" if not request.realtime else "all" if len(request.realtime) == request.vcpus else "some"
    cells = str(len(request.cells)) if len(request.cells) < 4 else "4+"
    ledger = state.ledger
    retiring = any(not claim.fit.taken <= state.pools.dedicated for claim in ledger.claims)
    holding = (
        "claims and foreign"
        if ledger.claims and ledger.foreign
        else "claims"
        if ledger.claims
        else "foreign"
        if ledger.foreign
        else "empty"
    )
    return (
        ("cpu", request.cpu_policy.value),
        ("thread", request.thread_policy.value),
        ("emulator", request.emulator_policy.value),
        ("realtime", realtime),
        ("page", request.page.kind.value),
        ("guest cells", cells),
        ("overhead pool", case.overhead_kind),
        ("booking", state.limits.booking.value),
        ("locality", state.limits.locality.value),
        ("strategy", case.strategy.value),
        ("SMT", str(state.topology.threads_per_core)),
        ("host cells", str(len(state.topology.cells)) if len(state.topology.cells) < 5 else "5+"),
        ("held by", holding),
        ("retiring", "yes" if retiring else "no"),
    )


PAIRED = ("cpu", "thread", "emulator", "realtime", "page", "overhead pool")


def possible_pairs() -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Every pair of policies that a request may have; a guest without pinned vCPUs has no other thread, emulator or realtime policy."""
    values = {
        "cpu": [policy.value for policy in CpuPolicy],
        "thread": [policy.value for policy in ThreadPolicy],
        "emulator": [policy.value for policy in EmulatorPolicy],
        "realtime": ["none", "some", "all"],
        "page": ["small", "large", "any", "explicit"],
        "overhead pool": ["shared", "separate", "partial", "none", "offline"],
    }
    impossible = {(("cpu", "shared"), other) for other in (("thread", "isolate"), ("thread", "require"), ("emulator", "share"))}
    impossible |= {(("cpu", "shared"), other) for other in (("emulator", "isolate"), ("realtime", "some"), ("realtime", "all"))}
    impossible |= {(("cpu", "mixed"), ("realtime", "all")), (("emulator", "unset"), ("realtime", "all"))}
    pairs = [
        ((one, first), (other, second))
        for one, other in itertools.combinations(PAIRED, 2)
        for first in values[one]
        for second in values[other]
    ]
    return [pair for pair in pairs if pair not in impossible]
