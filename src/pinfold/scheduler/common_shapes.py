"""`CommonShapes`: keep the index's common shapes at the newest version of the store, and count guests and flavors once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.request.compile import compile_request
from pinfold.scheduler.index import Index
from pinfold.scheduler.loss import MOST_SHAPES, ShapeKey, Shapes, shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.store import flavors, shapes
from pinfold.store.database import Database
from pinfold.store.records import FlavorRecord
from pinfold.store.shapes import CommonShape, StoredShapes

_MOST_REQUESTS: Final = 4 * MOST_SHAPES
"""The most requests of guests, and the most flavors, that are stored. Several may have one shape, and some have none."""
_LEAST_CHANGE: Final = 0.05
"""Weights add up to 1. If they differ by less than this in all, the version stays, and no process computes its table anew."""
_LESS_OFTEN: Final = 10
"""It looks for a new version this many times less often than for changed hosts: there is at most one in `count_seconds`."""
_log = logging.getLogger(__name__)


class CommonShapes:
    """Safe to share between threads: one looks, the others continue with what there is. Every process reads the same rows."""

    def __init__(self, database: Database, index: Index, settings: SchedulerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._index = index
        self._wanted = settings.strategy is HostStrategy.LEAST_LOSS
        self._look_seconds = _LESS_OFTEN * settings.refresh_seconds
        self._count_seconds = settings.count_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._version = 0

    def look(self) -> None:
        """Take over the newest version, if the last look was long enough ago. Reads nothing for another strategy. Raises `Unavailable`."""
        if not self._wanted or self._clock() - self._looked < self._look_seconds or not self._lock.acquire(blocking=False):
            return
        try:
            began = self._clock()
            self._take_over()
            self._looked = began
        finally:
            self._lock.release()

    def _take_over(self) -> None:
        """Read the newest version, if it is another one; have the guests counted before, if that is due."""
        with self._database.read_once() as connection:
            newest = shapes.newest(connection)
        if newest is None or newest[1] >= self._count_seconds:
            known = shapes.renew(self._database, seconds=self._count_seconds, count=_count, same=_same)
        elif newest[0] != self._version:
            with self._database.read_once() as connection:
                known = shapes.latest(connection)
        else:
            return
        if known is not None and known.version != self._version:
            self._index.weigh(weighed(known.shapes, known.version))
            self._version = known.version


def _count(connection: sa.Connection) -> tuple[CommonShape, ...]:
    """The requests of today's guests, and each flavor once: a fleet that is still empty keeps room for what it will be asked."""
    return shapes.counted(connection, _MOST_REQUESTS) + tuple(_offered(flavors.all(connection)))


def _offered(known: Iterable[FlavorRecord]) -> Iterator[CommonShape]:
    for record in islice(known, _MOST_REQUESTS):
        try:
            yield CommonShape(request=compile_request(record.flavor, disks=1), often=1)
        except InvalidRequest as error:
            _log.warning("flavor %r is left out of the common shapes: %s", record.flavor.name, error)


def _same(known: StoredShapes, found: tuple[CommonShape, ...]) -> bool:
    return difference(weighed(known.shapes, 0), weighed(found, 0)) < _LEAST_CHANGE


def weighed(found: Iterable[CommonShape], version: int) -> Shapes:
    """The shapes with their weights. A request that this pinfold cannot compile is left out."""
    asked: list[tuple[Demand, int]] = []
    for shape in found:
        try:
            asked.append((prepare(shape.request), shape.often))
        except InvalidRequest as error:
            _log.warning("a stored request is left out of the common shapes: %s", error)
    return shapes_of(asked, version)


def difference(one: Shapes, other: Shapes) -> float:
    """By how much the weights differ: 0 for equal ones, 2 for shapes that have nothing in common."""
    weights: dict[ShapeKey, float] = {shape.key: shape.weight for shape in one.shapes}
    for shape in other.shapes:
        weights[shape.key] = weights.get(shape.key, 0.0) - shape.weight
    return sum(map(abs, weights.values()))
