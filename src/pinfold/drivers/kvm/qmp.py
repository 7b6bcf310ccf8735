"""Read the answers of QEMU's monitor (QMP) about threads. Pure."""

from __future__ import annotations

import json
import re
from typing import Any


def vcpu_threads(answer: str) -> dict[int, int]:
    """Thread id -> vCPU in a `query-cpus-fast` answer. Thread ids that several vCPUs share (single-threaded TCG) are left out."""
    found: dict[int, list[int]] = {}
    for item in _returned(answer):
        found.setdefault(int(item["thread-id"]), []).append(int(item["cpu-index"]))
    return {tid: indexes[0] for tid, indexes in found.items() if len(indexes) == 1}


def iothread_threads(answer: str) -> dict[int, int]:
    """Thread id -> iothread id in a `query-iothreads` answer. The monitor's own iothread has no id and is left out."""
    found = {}
    for item in _returned(answer):
        match = re.fullmatch(r"iothread([0-9]+)", str(item["id"]))
        if match is not None:
            found[int(item["thread-id"])] = int(match[1])
    return found


def _returned(answer: str) -> list[dict[str, Any]]:
    """The return value of a QMP answer; empty for an error and for no answer."""
    returned: list[dict[str, Any]] = json.loads(answer).get("return", []) if answer else []
    return returned
