"""What keeps the overhead threads of a guest busy while its vCPU is measured."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import libvirt
import libvirt_qemu

from pinfold.latency.model import LOADS

Load = Callable[[Any, Any, threading.Event], int]
"""Runs on a connection and a domain until the event is set; returns how many operations it did."""
_POLL_SECONDS: Final = 0.005


def idle(_connection: Any, _domain: Any, stop: threading.Event) -> int:
    """Nothing."""
    stop.wait()
    return 0


def storm(_connection: Any, domain: Any, stop: threading.Event) -> int:
    """A management storm: the monitor is asked for its whole schema without pause."""
    done = 0
    while not stop.is_set():
        monitor(domain, "query-qmp-schema")
        done += 1
    return done


def statistics(connection: Any, domain: Any, stop: threading.Event) -> int:
    """The statistics of the domain without pause."""
    done = 0
    while not stop.is_set():
        connection.domainListGetStats([domain], 0, 0)
        done += 1
    return done


def migration(_connection: Any, domain: Any, stop: threading.Event) -> int:
    """QMP `migrate` into a file that is thrown away; the guest goes on after each."""
    done = 0
    with open("/dev/null", "wb") as nowhere:
        while not stop.is_set():
            command = json.dumps({"execute": "getfd", "arguments": {"fdname": "nowhere"}})
            libvirt_qemu.qemuMonitorCommandWithFiles(domain, command, [nowhere.fileno()], 0)
            monitor(domain, "migrate", uri="fd:nowhere")
            while monitor(domain, "query-migrate").get("status") not in ("completed", "failed", "cancelled"):
                time.sleep(_POLL_SECONDS)
            monitor(domain, "cont")
            done += 1
    return done


RUN: Final[dict[str, Load]] = dict(zip(LOADS, (idle, storm, statistics, idle, migration), strict=True))
"""By load. With `writes` the guest itself writes to its disk."""


def monitor(domain: Any, command: str, **arguments: object) -> Any:
    """Ask the monitor of a guest, and return what it answers. Raises `libvirt.libvirtError`."""
    asked: dict[str, object] = {"execute": command}
    if arguments:
        asked["arguments"] = arguments
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(asked), 0))
    if "error" in answer:
        raise libvirt.libvirtError(f"{command}: {answer['error']}")
    return answer["return"]
