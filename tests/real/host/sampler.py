"""`Sampler`: reads all the time where the threads of guests may run, without code of ours, and says which were outside of a window."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

Where = Callable[[int, int], str | None]
"""The cpulist of a thread, by its process and its own id; None if nobody knows, or it has ended."""


def by_procfs(pid: int, tid: int) -> str | None:
    """What the kernel allows a thread."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
        return next((line.split("\t")[1] for line in lines if line.startswith("Cpus_allowed_list")), None)
    return None


def by_records(folder: Path) -> Where:
    """What was asked for a thread on a synthetic lab."""

    def where(_pid: int, tid: int) -> str | None:
        with contextlib.suppress(OSError):
            return (folder / str(tid)).read_text().strip()
        return None

    return where


def members(cpulist: str) -> frozenset[int]:
    """The pCPUs of a cpulist."""
    found: set[int] = set()
    for part in filter(None, cpulist.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


class Sampler:
    """Watches processes while it is open. `window` maps each to the pCPUs where its threads may be now.

    Whoever changes something puts the union of before and after into the window first, and takes the rest out when it is done. A sample
    counts only if the window was the same before and after it.
    """

    def __init__(self, where: Where, window: dict[int, str]) -> None:
        self.window = {pid: members(cpus) for pid, cpus in window.items()}
        self.samples = 0
        self.outside: list[str] = []
        self._where = where
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def may_be_on(self, pid: int, *cpulists: str) -> None:
        """From now on, the threads of that process may be on these pCPUs."""
        self.window[pid] = frozenset().union(*map(members, cpulists))

    def _watch(self) -> None:
        while not self._end.is_set():
            for pid in list(self.window):
                with contextlib.suppress(OSError):
                    for task in Path(f"/proc/{pid}/task").iterdir():
                        self._look(pid, int(task.name))

    def _look(self, pid: int, tid: int) -> None:
        before = self.window[pid]
        found = self._where(pid, tid)
        if found is None or self.window[pid] is not before:
            return
        self.samples += 1
        if not members(found) <= before:
            self.outside.append(f"thread {tid} of process {pid} may run on {found}, {sorted(before)} was allowed")
