"""Fit the rates of `[overhead]` to what the overhead threads of guests of different shapes ran. Pure.

1. A shape (vCPUs, disks, NICs) is evidence if guests of it ran on the pool in `LEAST_HOURS` hours.
2. Begin with the present rates, all multiplied so that they book on average what was run.
3. Change each rate so that every shape books what its guests ran on average. A shape counts as right to a tenth, and a rate as right to
   its own size, so a rate that the shapes say nothing about keeps its proportion to the others. No rate is negative. This is least
   squares with those two weights; it has one answer.
4. A rate is `told` by the evidence if it is known to half of its size then. Shapes that differ in disks alone tell the rate of a disk.
5. Multiply all rates so that in every hour they book at least what was run, and round up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.hours import LEAST_HOURS, Place, Shape, ShapeHour

_NAMES: Final = ("guest", "vcpu", "disk", "nic")
_SHAPE_ERROR: Final = 0.1
_TOLD: Final = 0.5
_ROUNDS: Final = 2000


class ShapeUse(Struct, frozen=True, kw_only=True):
    """What guests of one shape ran on the pool, as millicpu of one guest on average, and what it books by the new rates."""

    vcpus: int
    disks: int
    nics: int
    hours: int
    used_millicpu: float
    booked_millicpu: int


class RateFit(Struct, frozen=True, kw_only=True):
    """The rates that match what was measured in `hours` hours. `told` names those that the evidence tells, of guest, vcpu, disk, nic.

    `shapes` are ordered by vCPUs, disks and NICs.
    """

    rates: OverheadRates
    hours: int
    told: tuple[str, ...]
    shapes: tuple[ShapeUse, ...]


def fitted(hours: Sequence[ShapeHour], present: OverheadRates) -> RateFit | None:
    """The fit to these hours; None if no shape has enough of them, or nothing was run. `present` are the rates of today."""
    used = usage(hours)
    if not used or not any(millicpu for _, millicpu in used.values()):
        return None
    shapes = sorted(used)
    rates, told = _solved(shapes, [used[shape][1] for shape in shapes], [max(getattr(present, name), 1) for name in _NAMES])
    cover = max(_short(list(group), rates) for _, group in groupby(_counting(hours, used), key=lambda hour: hour.begins))
    final = OverheadRates(**{name: math.ceil(rate * cover - 1e-6) for name, rate in zip(_NAMES, rates, strict=True)})
    return RateFit(
        rates=final,
        hours=len({hour.begins for hour in _counting(hours, used)}),
        told=told,
        shapes=tuple(
            ShapeUse(
                vcpus=shape[0],
                disks=shape[1],
                nics=shape[2],
                hours=used[shape][0],
                used_millicpu=used[shape][1],
                booked_millicpu=round(_booked(_terms(shape), [getattr(final, name) for name in _NAMES])),
            )
            for shape in shapes
        ),
    )


def _solved(shapes: Sequence[Shape], millicpu: Sequence[float], first: Sequence[float]) -> tuple[list[float], tuple[str, ...]]:
    """Steps 2 to 4: the rates by which each shape books its millicpu, beginning with `first`, and the names of those that are told."""
    terms = [_terms(shape) for shape in shapes]
    share = sum(millicpu) / sum(_booked(one, first) for one in terms)
    start = [rate * share for rate in first]
    weights = [1 / (_SHAPE_ERROR * max(amount, 1e-3)) for amount in millicpu]
    matrix = [[weight * one[k] * start[k] for k in range(4)] for weight, one in zip(weights, terms, strict=True)]
    lacks = [weight * (amount - _booked(one, start)) for weight, amount, one in zip(weights, millicpu, terms, strict=True)]
    normal = [[sum(row[i] * row[j] for row in matrix) + (i == j) for j in range(4)] for i in range(4)]
    wanted = [sum(row[k] * lack for row, lack in zip(matrix, lacks, strict=True)) for k in range(4)]
    rates = [rate * (1 + change) for rate, change in zip(start, _changes(normal, wanted), strict=True)]
    return rates, tuple(name for name, variance in zip(_NAMES, _variances(normal), strict=True) if variance <= _TOLD**2)


def usage(hours: Sequence[ShapeHour], place: Place = Place.POOL) -> dict[Shape, tuple[int, float]]:
    """The hours of each shape that has enough of them there, and the millicpu that its guests' overhead threads ran on average."""
    found: dict[Shape, tuple[int, float]] = {}
    ordered = sorted((hour for hour in hours if hour.place is place), key=lambda hour: hour.shape)
    for shape, group in groupby(ordered, key=lambda hour: hour.shape):
        mine = list(group)
        counted = len({hour.begins for hour in mine})
        seconds = sum({hour.begins: hour.guest_seconds for hour in mine}.values())
        if counted >= LEAST_HOURS and seconds > 0:
            found[shape] = counted, sum(hour.run_ns for hour in mine) / 1e6 / seconds
    return found


def _counting(hours: Sequence[ShapeHour], used: Mapping[Shape, object]) -> list[ShapeHour]:
    """The hours on the pool of these shapes, by time."""
    return sorted((hour for hour in hours if hour.place is Place.POOL and hour.shape in used), key=lambda hour: (hour.begins, hour.shape))


def _short(hours: Sequence[ShapeHour], rates: Sequence[float]) -> float:
    """What was run in one hour over what the rates book in it."""
    run = sum(hour.run_ns for hour in hours) / 1e6
    booked = sum(seconds * _booked(_terms(shape), rates) for shape, seconds in {hour.shape: hour.guest_seconds for hour in hours}.items())
    return run / booked if booked else 0.0


def _terms(shape: Shape) -> tuple[int, int, int, int]:
    return (1, *shape)


def _booked(terms: Sequence[int], rates: Sequence[float]) -> float:
    return sum(term * rate for term, rate in zip(terms, rates, strict=True))


def _changes(normal: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    """The relative change of each rate that makes the lacks and the changes smallest together, none below -1: one rate after the other."""
    changes = [0.0] * 4
    for _ in range(_ROUNDS):
        for k in range(4):
            rest = wanted[k] - sum(normal[k][j] * changes[j] for j in range(4) if j != k)
            changes[k] = max(-1.0, rest / normal[k][k])
    return changes


def _variances(normal: Sequence[Sequence[float]]) -> list[float]:
    """How uncertain each change is: the diagonal of the inverse of the normal equations, by elimination."""
    size = range(4)
    rows = [[*normal[i], *(float(i == j) for j in size)] for i in size]
    for i in size:
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in size:
            if j != i:
                rows[j] = [value - rows[j][i] * pivot for value, pivot in zip(rows[j], rows[i], strict=True)]
    return [rows[i][4 + i] for i in size]
