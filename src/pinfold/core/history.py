"""`HostHistory`: the last hour of a host in samples, as a value with a written form. `host.samples` keeps the samples.

Amounts are means over one sample, in millicpu: 1000 is one CPU all the time, or one thread that waited all the time.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinfold.core.bounds import CellIndex, Count, CpuIndex, Name, Revision
from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ThreadClass

KEPT_SECONDS: Final = 3600.0
"""For how long samples are kept."""
STEP_SECONDS: Final = 10.0
"""The time between two samples, unless the host is swept less often."""
MOST_SAMPLES: Final = int(KEPT_SECONDS / STEP_SECONDS)
MOST_ROWS: Final = 3100
"""The most pCPUs, pools and thread classes of guests together: 512 pCPUs, three pools, and 512 guests with five classes each."""
MOST_NUMBERS: Final = 150_000
"""The most numbers of one history. Its JSON is then shorter than the 1 MiB that an agent may send."""

MOST_MEMORIES: Final = 256
"""The most guests of one history whose memory is told."""
MOST_BYTES: Final = 1_000_000
"""The longest JSON of a history in a message. The service reads 1 MiB."""

Series = Annotated[tuple[Count | None, ...], Meta(max_length=MOST_SAMPLES)]
"""One amount for each sample, None where it is not known."""


class PcpuHistory(Struct, frozen=True, kw_only=True):
    """One pCPU. `others_millicpu` is what anyone but its owner ran there; it is empty if no guest has the pCPU alone."""

    pcpu: CpuIndex
    work_millicpu: Series
    wait_millicpu: Series
    others_millicpu: Series = ()


class GuestHistory(Struct, frozen=True, kw_only=True):
    """The threads of one class of a guest. `others_millicpu` is what others ran on the pCPUs that these threads have alone, if any."""

    guest: Name
    name: Name
    thread_class: ThreadClass
    work_millicpu: Series
    wait_millicpu: Series
    others_millicpu: Series = ()


class PoolHistory(Struct, frozen=True, kw_only=True):
    """The pCPUs of one pool together. `wait_millicpu` is the waiting of threads that may run nowhere else."""

    pool: Name
    work_millicpu: Series
    wait_millicpu: Series


class GuestMemory(Struct, frozen=True, kw_only=True):
    """Where the memory of a guest lies: `(host cell, MiB)`, by cell."""

    guest: Name
    mib: tuple[tuple[CellIndex, Count], ...]


Row = TypeVar("Row", PcpuHistory, GuestHistory, PoolHistory)


class HostHistory(Struct, frozen=True, kw_only=True):
    """The samples of one host, oldest first.

    `ends` says when each sample ended, in seconds since the epoch, and `seconds` how long it is. Where more time lies between two ends than
    the later sample is long, nobody measured. `left_out` is how many guests were not sampled last, because no room was left. `memory` says
    where the memory of running guests lies now, if the whole hour was asked for and the host has several cells.
    """

    host: Name
    step_seconds: float
    ends: Annotated[tuple[float, ...], Meta(max_length=MOST_SAMPLES)] = ()
    seconds: Annotated[tuple[float, ...], Meta(max_length=MOST_SAMPLES)] = ()
    pcpus: Annotated[tuple[PcpuHistory, ...], Meta(max_length=MOST_ROWS)] = ()
    guests: Annotated[tuple[GuestHistory, ...], Meta(max_length=MOST_ROWS)] = ()
    pools: Annotated[tuple[PoolHistory, ...], Meta(max_length=MOST_ROWS)] = ()
    left_out: Count = 0
    memory: Annotated[tuple[GuestMemory, ...], Meta(max_length=MOST_MEMORIES)] = ()


class HistoryQuestion(Struct, frozen=True, kw_only=True):
    """The service asks an agent for the samples of the last `seconds`. Questions to one agent are counted by `number`."""

    number: Revision
    seconds: Annotated[int, Meta(ge=1, le=int(KEPT_SECONDS))]


class HistoryAnswer(Struct, frozen=True, kw_only=True):
    """An agent's answer to the question of that number."""

    number: Revision
    history: HostHistory


def since(history: HostHistory, seconds: float) -> HostHistory:
    """The samples that ended in the last `seconds` before the end of the last one."""
    begin = next((place for place, end in enumerate(history.ends) if end > history.ends[-1] - seconds), 0)
    if not begin:
        return history
    return replace(
        history,
        ends=history.ends[begin:],
        seconds=history.seconds[begin:],
        pcpus=tuple(_rows_since(one, begin, others_millicpu=one.others_millicpu[begin:]) for one in history.pcpus),
        guests=tuple(_rows_since(one, begin, others_millicpu=one.others_millicpu[begin:]) for one in history.guests),
        pools=tuple(_rows_since(one, begin) for one in history.pools),
    )


def _rows_since(row: Row, begin: int, **more: Series) -> Row:
    return replace(row, work_millicpu=row.work_millicpu[begin:], wait_millicpu=row.wait_millicpu[begin:], **more)


def selected(history: HostHistory, *, guest: str | None = None, pcpus: CpuSet | None = None) -> HostHistory:
    """The rows of one guest, by its name or id, and of these pCPUs. Without either, all rows."""
    if guest is None and pcpus is None:
        return history
    return replace(
        history,
        guests=tuple(one for one in history.guests if guest in (one.name, one.guest)),
        memory=tuple(one for one in history.memory if guest == one.guest),
        pcpus=() if pcpus is None else tuple(one for one in history.pcpus if one.pcpu in pcpus),
        pools=(),
    )


def groups(number: int, size: int) -> Iterator[slice]:
    """The places of `number` samples in groups of `size`. The first group may be smaller, so that the last one ends with the last sample.

    >>> list(groups(5, 2))
    [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
    """
    begin = 0
    for end in range(number % size or size, number + 1, size) if number else ():
        yield slice(begin, end)
        begin = end


def mean(amounts: Sequence[int | None], seconds: Sequence[float]) -> int | None:
    """The mean of the known amounts, each by the length of its sample; None if none is known.

    >>> mean((10, None, 40), (10.0, 10.0, 20.0)), mean((None,), (10.0,))
    (30, None)
    """
    if None in amounts:
        known = [(amount, length) for amount, length in zip(amounts, seconds, strict=True) if amount is not None]
        amounts, seconds = [amount for amount, _ in known], [length for _, length in known]
    whole = sum(seconds)
    return round(sum(map(operator.mul, amounts, seconds)) / whole) if whole else None
