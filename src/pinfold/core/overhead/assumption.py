"""What an operator assumes where nothing was measured, and what the benchmark found: the other evidence of `advice`. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest

BENCHMARK: Final = (
    (4.3, 4),
    (15.1, 6),
    (37.4, 10),
    (40.7, 7),
    (60.8, 13),
    (76.0, 37),
    (82.2, 40),
    (83.2, 53),
    (83.9, 43),
)
"""How busy a pCPU of overhead threads was, in per cent, and their mean wait before a slice, in us: docs/benchmarks/overhead.md."""

_LIMITS: Final = {"guests": (1, 100_000), "vcpus": (1, 1024), "cpu-per-guest": (0.0001, 64), "busy": (0.01, 1), "pcpus": (1, 8192)}
_WHOLE: Final = ("vcpus", "pcpus")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Assumptions(Struct, frozen=True, kw_only=True):
    """What is assumed: how many guests share the pool, the vCPUs of each, the pCPUs that the overhead threads of one run, how busy the pool
    may be (0 to 1), and the pCPUs of the host for guests and their overhead. None: not assumed.

    A guest with that many `vcpus` has one disk and `nics` network interfaces.
    """

    guests: float | None = None
    vcpus: int | None = None
    nics: int = 1
    cpu_per_guest: float | None = None
    busy: float | None = None
    pcpus: int | None = None


def assumptions(texts: Iterable[str], *, nics: int = 1) -> Assumptions:
    """The assumptions of texts `NAME=VALUE`; a name may come once. `nics` are those of an assumed guest. Raises `InvalidRequest`.

    >>> assumptions(["guests=40", "cpu-per-guest=0.05"])
    Assumptions(guests=40.0, vcpus=None, nics=1, cpu_per_guest=0.05, busy=None, pcpus=None)
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in _LIMITS:
            near = get_close_matches(name, _LIMITS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; {', '.join(_LIMITS)} can be"
            raise InvalidRequest(f"--assume {name[:40]!r} cannot be assumed{hint}", key="--assume")
        if name in found:
            raise InvalidRequest(f"--assume {name} is given twice", key="--assume")
        least, most = _LIMITS[name]
        number = float(value) if _NUMBER.fullmatch(value) else math.nan
        if not least <= number <= most or (name in _WHOLE and number != int(number)):
            kind = "a whole number" if name in _WHOLE else "a number"
            raise InvalidRequest(f"--assume {name}={value[:40]!r} is not allowed; {kind} from {least:g} to {most:g} is", key="--assume")
        found[name] = number
    whole = {name: int(found[name]) for name in _WHOLE if name in found}
    return Assumptions(
        guests=found.get("guests"),
        vcpus=whole.get("vcpus"),
        nics=nics,
        cpu_per_guest=found.get("cpu-per-guest"),
        busy=found.get("busy"),
        pcpus=whole.get("pcpus"),
    )


def benchmark_busy(target_us: float) -> float | None:
    """How busy the benchmark's pCPU was in the busiest step that kept the target; None if a step that was no busier missed it."""
    kept: float | None = None
    for busy, wait in sorted(BENCHMARK):
        if wait > target_us:
            break
        kept = round(busy / 100, 3)
    return kept


def benchmark_delay(busy: float) -> float | None:
    """The longest mean wait of the benchmark on a pCPU that was at most so busy, in us; None beyond its busiest step."""
    waits = [wait for step, wait in BENCHMARK if step / 100 <= busy + 1e-9]
    return max(waits) if waits and busy <= BENCHMARK[-1][0] / 100 + 1e-9 else None
