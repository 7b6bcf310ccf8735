"""`Samples`: the last hour of a host in memory, one sample every ten seconds. The watch and the agent feed it with their counters.

What it promises:
1. Each pCPU, each pool and each thread class of a guest has a row: how much it worked and waited, and what others took of its pCPUs.
2. A number is the mean since the row was read before. Where a row was not read, it has a gap instead of a zero. It has a gap too where
   its counter fell, and at its first reading, because the time since it began to count is not known.
3. Sweeps that come earlier than the next sample is due, because something changed on the host, add nothing. If sweeps fail, there are no
   samples; the next one is the mean of the time since the sample before, and says how long that was.
4. A row takes 2.4 KiB, from its first reading on until an hour after its last one. There are at most `MOST_ROWS` rows, which take less
   than 8 MiB. If they are used up, a new guest gets the row of the one that has been gone for longest; if none has gone, it has no row.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from pinfold.core.encoding import json_text
from pinfold.core.history import (
    KEPT_SECONDS,
    MOST_BYTES,
    MOST_NUMBERS,
    MOST_ROWS,
    STEP_SECONDS,
    GuestHistory,
    HostHistory,
    PcpuHistory,
    PoolHistory,
    Series,
    groups,
    mean,
)
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.usage import Usage
from pinfold.host.loop_events import Moment

_EARLY: Final = 0.9
"""A sweep after this share of the step makes a sample: sweeps are not exactly punctual."""
_GAP: Final = 0xFFFF
_DIGITS: Final = 12
_LARGEST: Final = ((1 << _DIGITS) - 2) << 15
_PER_MILLICPU: Final = 1_000_000
"""Nanoseconds of CPU time in a second, for each millicpu."""
_OWN: Final = (ThreadClass.VCPU, ThreadClass.EMULATOR)
"""The classes that may have pCPUs alone. The other overhead threads share that of the emulator."""

_CLASSES: Final = tuple(ThreadClass)
_MOST_NAME: Final = 255

_Key: TypeAlias = int | str | tuple[GuestId, ThreadClass]
"""A pCPU, the name of a pool, or the threads of one class of a guest."""


class _Reading(Struct, frozen=True):
    key: _Key
    run_ns: int
    wait_ns: int


class _Part(Struct, frozen=True, kw_only=True):
    """A copy of some samples: when each ends, how long it is, and the codes of each row. `places` are those of its three numbers."""

    ends: list[float]
    lengths: list[float]
    codes: dict[_Key, array[int]]
    places: list[list[int]]
    names: dict[GuestId, str]
    left_out: int

    def history(self, host: str, step: float, most_numbers: int) -> HostHistory:
        """The samples, or groups of them that have at most so many numbers together."""
        size = max(1, math.ceil(len(self.ends) / max(1, most_numbers // max(1, 3 * len(self.codes)))))
        parts = list(groups(len(self.ends), size))
        return HostHistory(
            host=host[:_MOST_NAME],
            step_seconds=step * size,
            ends=tuple(round(self.ends[part][-1], 3) for part in parts),
            seconds=tuple(round(sum(self.lengths[part]), 3) for part in parts),
            pcpus=tuple(
                PcpuHistory(pcpu=pcpu, work_millicpu=work, wait_millicpu=wait, others_millicpu=others)
                for pcpu in sorted(key for key in self.codes if isinstance(key, int))
                for work, wait, others in (self._series(pcpu, parts),)
            ),
            guests=tuple(
                GuestHistory(
                    guest=key[0][:_MOST_NAME],
                    name=self.names.get(key[0], key[0])[:_MOST_NAME],
                    thread_class=key[1],
                    work_millicpu=work,
                    wait_millicpu=wait,
                    others_millicpu=others,
                )
                for key in sorted((key for key in self.codes if isinstance(key, tuple)), key=self._order)
                for work, wait, others in (self._series(key, parts),)
            ),
            pools=tuple(
                PoolHistory(pool=pool, work_millicpu=work, wait_millicpu=wait)
                for pool in sorted(key for key in self.codes if isinstance(key, str))
                for work, wait, _ in (self._series(pool, parts),)
            ),
            left_out=self.left_out,
        )

    def _series(self, key: _Key, parts: list[slice]) -> tuple[Series, Series, Series]:
        """What a row worked, what it waited, and what others took, which is empty if that is not known at all."""
        codes, whole = self.codes[key], len(parts) == len(self.ends)
        found: list[Series] = []
        for places in self.places:
            amounts = [_decoded(codes[place]) for place in places]
            found.append(tuple(amounts) if whole else tuple(mean(amounts[part], self.lengths[part]) for part in parts))
        work, wait, others = found
        return work, wait, others if any(amount is not None for amount in others) else ()

    def _order(self, key: tuple[GuestId, ThreadClass]) -> tuple[str, str, int]:
        return self.names.get(key[0], ""), key[0], _CLASSES.index(key[1])


class Samples:
    """The samples of one host. Safe to use from several threads."""

    def __init__(self, sweep_seconds: float = STEP_SECONDS) -> None:
        self._step = max(STEP_SECONDS, sweep_seconds)
        self._most = max(1, int(KEPT_SECONDS / self._step))
        self._lock = threading.Lock()
        self._at: float | None = None
        self._number = 0
        self._ats, self._ends, self._seconds = (array("d", bytes(8 * self._most)) for _ in range(3))
        self._rows: dict[_Key, int] = {}
        self._unused: list[int] = []
        self._codes: list[array[int]] = []
        self._run, self._wait, self._seen = array("q"), array("q"), array("q")
        self._read = array("d")
        self._others: dict[int, tuple[frozenset[int], int]] = {}
        self._names: dict[GuestId, str] = {}
        self._left_out = 0

    def add(self, usage: Usage, unread: frozenset[GuestId], names: Mapping[GuestId, str], when: Moment) -> None:
        """Add a sample, if one is due: `usage` is what was counted until now, without the guests that could not be read."""
        with self._lock:
            before = self._at
            if before is not None and when.at - before < self._step * _EARLY:
                return
            self._at = when.at
            others = self._taken(usage, when.at - (when.at if before is None else before))
            found: dict[int, tuple[int, int, int]] = {}
            refused: set[object] = set()
            for reading in _readings(usage, unread):
                row = self._row(reading.key)
                if row is None:
                    refused.add(reading.key[0] if isinstance(reading.key, tuple) else reading.key)
                else:
                    found[row] = (*self._rates(row, reading, when.at), others.get(reading.key, _GAP))
            self._left_out = len(refused)
            if before is not None:
                self._write(found, when, when.at - before)
            self._names |= {key[0]: names[key[0]] for key in self._rows if isinstance(key, tuple) and key[0] in names}

    def history(self, host: str, *, seconds: float = KEPT_SECONDS, most_numbers: int = MOST_NUMBERS) -> HostHistory:
        """The samples of the last `seconds`. If they have more than `most_numbers` numbers, several samples become one."""
        with self._lock:
            places = [number % self._most for number in range(max(0, self._number - self._most), self._number)]
            places = [place for place in places if self._ats[place] > self._ats[places[-1]] - seconds]
            part = _Part(
                ends=[self._ends[place] for place in places],
                lengths=[self._seconds[place] for place in places],
                codes={key: self._codes[row][:] for key, row in self._rows.items() if self._number - self._seen[row] <= len(places)},
                places=[[begin + place for place in places] for begin in (0, self._most, 2 * self._most)],
                names=dict(self._names),
                left_out=self._left_out,
            )
        return part.history(host, self._step, most_numbers)

    def message(self, host: str, seconds: float) -> HostHistory:
        """The samples of the last `seconds`, as many as one message may hold."""
        numbers = MOST_NUMBERS
        while len(json_text(found := self.history(host, seconds=seconds, most_numbers=numbers))) > MOST_BYTES and numbers > 1:
            numbers //= 2
        return found

    def _taken(self, usage: Usage, span: float) -> dict[_Key, int]:
        """What others ran on each pCPU that had the same owner all the time, and for that owner on its pCPUs together, as codes."""
        before, self._others = self._others, {}
        taken: dict[_Key, int] = {}
        owners = {tid: (guest, _class(thread.thread_class)) for guest, used in usage.guests.items() for tid, thread in used.last.items()}
        for pcpu, one in usage.pcpus.items():
            if one.owned is None:
                continue
            self._others[pcpu] = one.owned, one.others_ns
            owned, others_ns = before.get(pcpu, (None, 0))
            if span and owned == one.owned and one.others_ns >= others_ns:
                delta = taken[pcpu] = one.others_ns - others_ns
                owner = next((owners[tid] for tid in one.owned if tid in owners), None)
                if owner is not None:
                    taken[owner] = taken.get(owner, 0) + delta
        return {key: _encoded(delta, span) for key, delta in taken.items()}

    def _rates(self, row: int, reading: _Reading, at: float) -> tuple[int, int]:
        """What a row worked and waited since it was read before, as codes."""
        read, run, wait = self._read[row], self._run[row], self._wait[row]
        self._read[row], self._run[row], self._wait[row] = at, reading.run_ns, reading.wait_ns
        if read < 0 or reading.run_ns < run or reading.wait_ns < wait:
            return _GAP, _GAP
        return _encoded(reading.run_ns - run, at - read), _encoded(reading.wait_ns - wait, at - read)

    def _write(self, found: Mapping[int, tuple[int, int, int]], when: Moment, span: float) -> None:
        """Write a column: what was found, and gaps. Rows that hold nothing but gaps now are given up."""
        place, most = self._number % self._most, self._most
        self._ats[place], self._ends[place], self._seconds[place] = when.at, when.time, span
        over = []
        for key, row in self._rows.items():
            codes = self._codes[row]
            codes[place], codes[most + place], codes[2 * most + place] = found.get(row, (_GAP, _GAP, _GAP))
            if row in found:
                self._seen[row] = self._number
            elif self._number - self._seen[row] >= most:
                over.append(key)
        self._number += 1
        for key in over:
            self._give_up(key)

    def _row(self, key: _Key) -> int | None:
        """The row of a key, a new one if need be; None if all are in use."""
        row = self._rows.get(key)
        if row is not None:
            return row
        if not self._unused and len(self._codes) >= MOST_ROWS:
            self._give_up(min(self._rows, key=lambda other: self._seen[self._rows[other]]), gone=True)
        if self._unused:
            row = self._unused.pop()
            self._codes[row][:] = self._empty()
        elif len(self._codes) < MOST_ROWS:
            row = len(self._codes)
            self._codes.append(self._empty())
            for numbers in (self._run, self._wait, self._seen):
                numbers.append(0)
            self._read.append(-1.0)
        else:
            return None
        self._rows[key], self._read[row], self._seen[row] = row, -1.0, self._number
        return row

    def _give_up(self, key: _Key, *, gone: bool = False) -> None:
        """Take a row from its key. With `gone`, only if the last sample did not have it."""
        if gone and self._seen[self._rows[key]] >= self._number - 1:
            return
        self._unused.append(self._rows.pop(key))
        if isinstance(key, tuple) and not any((key[0], kind) in self._rows for kind in ThreadClass):
            self._names.pop(key[0], None)

    def _empty(self) -> array[int]:
        return array("H", [_GAP]) * (3 * self._most)


def _readings(usage: Usage, unread: frozenset[GuestId]) -> Iterator[_Reading]:
    """Every counter, pCPUs and pools first."""
    for pcpu, one in usage.pcpus.items():
        yield _Reading(pcpu, one.run_ns, one.wait_ns)
    for name, pool in usage.pools.items():
        yield _Reading(name, pool.run_ns, pool.wait_ns)
    for guest, used in usage.guests.items():
        if guest not in unread:
            for kind, times in used.classes.items():
                yield _Reading((guest, kind), times.run_ns, times.wait_ns)


def _class(kind: ThreadClass) -> ThreadClass:
    return kind if kind in _OWN else ThreadClass.EMULATOR


def _encoded(delta_ns: int, seconds: float) -> int:
    """An amount in 16 bits: twelve binary digits, and by how many places they are moved. Exact below 4096 millicpu."""
    amount = min(round(delta_ns / seconds / _PER_MILLICPU), _LARGEST)
    places = max(0, amount.bit_length() - _DIGITS)
    return places << _DIGITS | amount >> places


def _decoded(code: int) -> int | None:
    return None if code == _GAP else (code & (1 << _DIGITS) - 1) << (code >> _DIGITS)
