"""The program `observer URL TOKEN_FILE PID [CA_FILE]`: an agent's heartbeats and a process's memory, while others attack.

The time of a heartbeat is without the time in which the API or this process could have run but had no processor, since other suites had
them all. Beside the heartbeats it asks `control`, whose slowest answer says how slow the disk was meanwhile.

A process of its own, so that what the attackers cost in the test's process does not count as the API's. Says `ready` after its first
heartbeat; ends when standard input does, and then prints what it saw as one line of JSON. What is too much is decided by `rig`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pinfold.agent.client import ServiceClient
from pinfold.core.errors import PinfoldError

_PAUSE_SECONDS = 0.03
_FRESH_EVERY = 5
"""Every so many heartbeats use a new connection: an agent that starts during an attack has to get in too."""


def resident_mib(pid: int) -> float:
    """The resident memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def schedule(pid: int) -> dict[int, tuple[int, int]]:
    """For how many nanoseconds each thread of a process has run, and could have run but had no processor."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            ran, waited, _ = (task / "schedstat").read_text().split()
            found[int(task.name)] = int(ran), int(waited)
    return found


def starved_by_others(before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]], main: int, took: float) -> float:
    """For how many of those seconds the main thread, and the one of the others that waited longest, had no processor.

    The share of the processors that the process used itself is never counted: others did not have that.
    """
    grown = {thread: [now - then for now, then in zip(after[thread], before.get(thread, (0, 0)), strict=True)] for thread in after}
    ran = sum(growth[0] for growth in grown.values()) / 1e9
    waits = {thread: growth[1] / 1e9 for thread, growth in grown.items()}
    starved = waits.pop(main, 0.0) + max(waits.values(), default=0.0)
    return max(0.0, min(starved, took - ran / len(os.sched_getaffinity(0))))


def main(url: str, token_file: str, pid: str, ca_file: str = "") -> None:
    """Beat and look until standard input ends."""
    token, ended = Path(token_file).read_text(), threading.Event()
    seen: dict[str, Any] = {
        "beats": 0,
        "slowest": 0.0,
        "slowest_fresh": 0.0,
        "slowest_control": 0.0,
        "longest_starved": 0.0,
        "failures": [],
        "peak_mib": 0.0,
    }

    def look() -> None:
        while not ended.is_set():
            seen["peak_mib"] = max(seen["peak_mib"], resident_mib(int(pid)))
            ended.wait(_PAUSE_SECONDS)

    control = subprocess.Popen(
        [sys.executable, "-m", "tests.real.attack.control", str(Path(token_file).parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert control.stdin is not None
    assert control.stdout is not None
    ask, told = control.stdin, control.stdout

    def ask_control() -> None:
        while not ended.is_set():
            began = time.monotonic()
            ask.write(b"?\n")
            ask.flush()
            assert told.readline() == b"?\n"
            seen["slowest_control"] = max(seen["slowest_control"], time.monotonic() - began)
            ended.wait(_PAUSE_SECONDS)
        ask.close()
        control.wait()

    ask.write(b"?\n")
    ask.flush()
    told.readline()
    steady = ServiceClient(url, token, ca_file=ca_file)
    steady.heartbeat()
    watchers = [threading.Thread(target=look), threading.Thread(target=ask_control)]
    for watcher in watchers:
        watcher.start()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print(f"ready {control.pid}", flush=True)
    while not ended.is_set():
        fresh = seen["beats"] % _FRESH_EVERY == 0
        client = ServiceClient(url, token, ca_file=ca_file) if fresh else steady
        pids = (int(pid), os.getpid())
        before, began = [schedule(each) for each in pids], time.monotonic()
        try:
            client.heartbeat()
        except PinfoldError as error:
            seen["failures"].append(str(error)[:300])
        took = time.monotonic() - began
        starved = sum(starved_by_others(was, schedule(each), each, took) for was, each in zip(before, pids, strict=True))
        seen["longest_starved"] = max(seen["longest_starved"], starved)
        took -= min(starved, took)
        seen["slowest_fresh" if fresh else "slowest"] = max(seen["slowest_fresh" if fresh else "slowest"], took)
        seen["beats"] += 1
        if fresh:
            client.close()
        ended.wait(_PAUSE_SECONDS)
    for watcher in watchers:
        watcher.join()
    print(json.dumps(seen), flush=True)
