"""Read the answers of QEMU's monitor (QMP) about threads. Pure. An answer of another form raises `msgspec.MsgspecError`."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pinfold.core.encoding import json_reader

_MONITOR_THREAD: Final = "mon_iothread"


class _Cpu(msgspec.Struct, frozen=True, rename="kebab"):
    thread_id: int
    cpu_index: int


class _Iothread(msgspec.Struct, frozen=True, rename="kebab"):
    id: str
    thread_id: int


class _Run(msgspec.Struct, frozen=True):
    running: bool = True


class _Cpus(msgspec.Struct, frozen=True):
    returned: tuple[_Cpu, ...] = msgspec.field(default=(), name="return")


class _Iothreads(msgspec.Struct, frozen=True):
    returned: tuple[_Iothread, ...] = msgspec.field(default=(), name="return")


class _Status(msgspec.Struct, frozen=True):
    returned: _Run = msgspec.field(default=_Run(), name="return")


_read_cpus, _read_iothreads, _read_status = json_reader(_Cpus), json_reader(_Iothreads), json_reader(_Status)


def vcpu_threads(answer: str | bytes) -> dict[int, int]:
    """Thread id -> vCPU in a `query-cpus-fast` answer. Thread ids that several vCPUs share (single-threaded TCG) are left out."""
    return {tid: indexes[0] for tid, indexes in _by_thread(answer).items() if len(indexes) == 1}


def shared_vcpu_threads(answer: str | bytes) -> frozenset[int]:
    """The thread ids that several vCPUs share in a `query-cpus-fast` answer."""
    return frozenset(tid for tid, indexes in _by_thread(answer).items() if len(indexes) > 1)


def iothread_threads(answer: str | bytes) -> dict[int, int | None]:
    """Thread id -> iothread's number in a `query-iothreads` answer, None for an id without number. The monitor's own is left out."""
    found: dict[int, int | None] = {}
    for item in _read_iothreads(answer).returned if answer else ():
        number = re.fullmatch(r"iothread([0-9]{1,9})", item.id)
        if item.id != _MONITOR_THREAD:
            found[item.thread_id] = int(number[1]) if number else None
    return found


def is_running(answer: str | bytes) -> bool:
    """Whether the guest's vCPUs run, by a `query-status` answer."""
    return _read_status(answer).returned.running


def _by_thread(answer: str | bytes) -> dict[int, list[int]]:
    """Thread id -> vCPUs; empty for an error and for no answer."""
    found: dict[int, list[int]] = {}
    for item in _read_cpus(answer).returned if answer else ():
        found.setdefault(item.thread_id, []).append(item.cpu_index)
    return found
