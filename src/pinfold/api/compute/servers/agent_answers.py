"""What the agent of a server's host is asked about it: the end of its console log, and its diagnostics."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fastapi import Request

from pinfold.api.agent_answer import agent_answer
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.schemas import DiagnosticsShown, StandardDiagnostics
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.microversion import Microversion
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.guest_questions import MOST_LINES, About, Diagnostics, GuestAnswer
from pinfold.core.identity import GuestId
from pinfold.store import guest_questions, hosts
from pinfold.store.records import GuestRecord, HostRecord, Observed

router = Router(prefix=ROOT, tags=["servers"])

WAIT_SECONDS: Final = 10.0
"""How long an agent may take. It answers a question at once, when it is there."""
CONSOLE_OUTPUT: Final[dict[str, Any]] = {
    "description": "The end of the console log.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"output": {"type": "string"}},
                "required": ["output"],
                "additionalProperties": False,
            }
        }
    },
}
_STANDARD: Final = Microversion(2, 48)
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")


async def console_output(server_id: GuestId, argument: object, request: Request, services: ApiServices) -> dict[str, str]:
    """The end of a server's console log: its last lines, or at most 100 KiB. Raises `InvalidRequest` for another argument than Nova's."""
    lines = _lines(argument)
    guest = await in_thread(server, services, request, server_id)
    answer = await _answer(services, guest, About.CONSOLE_LOG, lines)
    return {"output": answer.log.decode("utf-8", "replace")}


@router.get("/servers/{server_id}/diagnostics", responses={503: {}})
async def show_diagnostics(server_id: GuestId, request: Request, services: Services, version: Version) -> DiagnosticsShown:
    """What the hypervisor counts of a running server, which its agent is asked for. 409 for one that does not run, 503 while the agent is
    away. Before microversion 2.48 the keys are named after vCPUs and devices.
    """
    guest = await in_thread(server, services, request, server_id)
    if guest.observed not in (Observed.RUNNING, Observed.PAUSED):
        raise Conflict(f"Instance {server_id} does not run: only a running server has diagnostics")
    answer = await _answer(services, guest, About.DIAGNOSTICS)
    if answer.diagnostics is None:
        raise Unavailable(f"the agent of server {server_id} has sent no diagnostics")
    return _standard(guest, answer.diagnostics) if version >= _STANDARD else _earlier(answer.diagnostics)


def _lines(argument: object) -> int:
    """How many lines are asked for, 0 for all."""
    given = argument if isinstance(argument, dict) else {}
    length = given.get("length")
    if isinstance(length, str) and _NUMBER.fullmatch(length):
        length = int(length)
    known = length is None or (isinstance(length, int) and not isinstance(length, bool) and length >= -1)
    if not known or not isinstance(argument, dict | None) or given.keys() - {"length"}:
        raise InvalidRequest("os-getConsoleOutput takes a length, a number of lines, -1 or null for all of them", key="length")
    return 0 if length is None or length == -1 else min(int(str(length)), MOST_LINES)


async def _answer(services: ApiServices, guest: GuestRecord, about: About, lines: int = 0) -> GuestAnswer:
    """The agent's answer. Raises `Conflict` for a server without a host or whose agent refuses, `Unavailable` when there is no answer."""
    host = await in_thread(host_of, services, guest)
    number = 0

    async def ask() -> Callable[[], GuestAnswer | None]:
        nonlocal number
        number = await in_thread(partial(services.fleet.questions.ask, host.id, guest.id, about, lines=lines))
        return lambda: services.fleet.questions.answered(number)

    try:
        answer = await agent_answer(services, guest_questions.topic(host.id), ask, WAIT_SECONDS)
    finally:
        if number:
            await in_thread(services.fleet.questions.forget, number)
    if answer is None:
        raise Unavailable(f"the agent of host {host.name} has not answered within {WAIT_SECONDS:.0f} seconds")
    if answer.failure:
        raise Conflict(answer.failure)
    return answer


def host_of(services: ApiServices, guest: GuestRecord) -> HostRecord:
    """The guest's host. Raises `Conflict` when it has none, `Unavailable` when its agent is away."""
    if guest.host is None:
        raise Conflict(f"Instance {guest.id} has no host yet")
    with services.database.read() as connection:
        host = hosts.get(connection, guest.host)
    if not host.up:
        raise Unavailable(f"server {guest.id} is on host {host.name}, whose agent is away")
    return host


def _standard(guest: GuestRecord, found: Diagnostics) -> StandardDiagnostics:
    return {
        "state": found.state,
        "driver": "libvirt",
        "hypervisor": found.hypervisor,
        "hypervisor_os": "linux",
        "uptime": found.uptime_seconds,
        "config_drive": guest.config_drive,
        "num_cpus": len(found.cpu_ns),
        "num_nics": len(found.nics),
        "num_disks": len(found.disks),
        "memory_details": {"maximum": found.memory_mib, "used": None},
        "cpu_details": [{"id": index, "time": ran, "utilisation": None} for index, ran in enumerate(found.cpu_ns)],
        "nic_details": [
            {
                "mac_address": nic.mac,
                "rx_octets": nic.rx_bytes,
                "rx_errors": nic.rx_errors,
                "rx_drop": nic.rx_drop,
                "rx_packets": nic.rx_packets,
                "rx_rate": None,
                "tx_octets": nic.tx_bytes,
                "tx_errors": nic.tx_errors,
                "tx_drop": nic.tx_drop,
                "tx_packets": nic.tx_packets,
                "tx_rate": None,
            }
            for nic in found.nics
        ],
        "disk_details": [
            {
                "read_bytes": disk.read_bytes,
                "read_requests": disk.read_requests,
                "write_bytes": disk.write_bytes,
                "write_requests": disk.write_requests,
                "errors_count": None,
            }
            for disk in found.disks
        ],
    }


def _earlier(found: Diagnostics) -> dict[str, int]:
    """The form before microversion 2.48, as Nova's libvirt driver fills it. Memory is in KiB."""
    shown = {f"cpu{index}_time": ran for index, ran in enumerate(found.cpu_ns)}
    for disk in found.disks:
        shown |= {
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_write_req": disk.write_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_errors": -1,
        }
    shown |= {"memory": found.memory_mib * 1024, "memory-actual": found.memory_mib * 1024}
    if found.resident_mib is not None:
        shown["memory-rss"] = found.resident_mib * 1024
    for nic in found.nics:
        counts = (
            *(("rx", nic.rx_bytes), ("rx_packets", nic.rx_packets), ("rx_errors", nic.rx_errors), ("rx_drop", nic.rx_drop)),
            *(("tx", nic.tx_bytes), ("tx_packets", nic.tx_packets), ("tx_errors", nic.tx_errors), ("tx_drop", nic.tx_drop)),
        )
        shown |= {f"{nic.mac}_{key}": value for key, value in counts}
    return shown
