"""The placement rules against Nova's own: what an unmodified Nova wrote for a flavor, beside what pinfold would write for it.

`record.py` made the recordings. Which free pCPU each of the two takes is its own affair. What must agree is how many pCPUs each vCPU may
use and of which pool, where the emulator threads go, which vCPUs are realtime, and the pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.fit.engine import fit
from pinfold.core.host import HostState, Limits
from pinfold.core.hosttext import host
from pinfold.core.overhead import masks
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.drivers.libvirt.definition import host_guest
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest

RECORDED = Path(__file__).with_name("domains.jsonl")


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server that Nova started, and the domain that it wrote."""

    host: str
    vcpus: int
    memory_mib: int
    extra_specs: tuple[tuple[str, str], ...]
    xml: str

    def __str__(self) -> str:
        specs = " ".join(f"{key.removeprefix('hw:')}={value}" for key, value in self.extra_specs)
        return f"{self.host}: {self.vcpus} vCPUs {specs}"


@cache
def recording() -> tuple[dict[str, Any], tuple[Server, ...]]:
    """The hosts, and the servers in the order in which they were asked for."""
    head, *rest = (json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines())
    servers = tuple(
        Server(
            host=line["host"],
            vcpus=line["vcpus"],
            memory_mib=line["memory_mib"],
            extra_specs=tuple(line["extra_specs"].items()),
            xml=line["xml"],
        )
        for line in rest
    )
    return head, servers


@cache
def state(name: str) -> HostState:
    """The recorded host of that name, empty."""
    head, _ = recording()
    shape = head["hosts"][name]
    mib, huge = head["cell_kib"] // 1024, f"{head['huge_kib']}x{head['huge_pages']}"
    # Nova's stand-in counts huge pages beside the small ones, pinfold as a part of the cell's memory.
    whole = mib + head["huge_kib"] * head["huge_pages"] // 1024
    topology = host(f"pack:1 cell:2 core:{head['cores_per_cell']} pu:{shape['threads']} mem:{whole} huge:{huge}")
    sets = {key: None if shape[key] is None else CpuSet.parse(shape[key]) for key in ("shared", "dedicated")}
    pools, _ = build_pools(PoolConfig(**sets), topology)
    return HostState(topology=topology, pools=pools, limits=Limits(cpu_allocation_ratio=4.0))


def request_of(server: Server) -> GuestRequest | None:
    """What the flavor asks of a host; None where pinfold refuses the flavor itself."""
    try:
        return compile_request(
            Flavor(name="f", vcpus=server.vcpus, memory_mib=server.memory_mib, extra_specs=tuple(sorted(server.extra_specs)))
        )
    except InvalidRequest:
        return None


def nova_guest(server: Server) -> HostGuest:
    """The domain that Nova wrote, as pinfold reads it."""
    return host_guest(server.xml, state=GuestState.RUNNING, persistent=True, pid=None, pages=HostPages(cells=(0, 1)))


def test_the_recording_covers_policies_and_kinds_of_guests() -> None:
    started = recording()[1]
    specs = [dict(server.extra_specs) for server in started]
    assert {found.get("hw:emulator_threads_policy") for found in specs} == {None, "share", "isolate"}
    assert {found.get("hw:cpu_policy") for found in specs} == {None, "shared", "dedicated", "mixed"}
    assert len(started) >= 250
    assert {server.host for server in started} == set(recording()[0]["hosts"])


@pytest.mark.parametrize("server", recording()[1], ids=str)
def test_threads_go_where_nova_puts_them(server: Server) -> None:
    request = request_of(server)
    assert request is not None
    ours = fit(request, state(server.host))
    assert isinstance(ours, Fit)
    theirs, online = nova_guest(server), state(server.host).topology.online
    pools = state(server.host).pools
    wanted = masks(ours)
    pins = theirs.pins
    sets = tuple(dict(pins.vcpus).get(vcpu, pins.placement or online) for vcpu in range(server.vcpus))
    assert [len(cpus) for cpus in sets] == [len(cpus) for cpus in wanted.vcpus]
    assert [cpus <= pools.dedicated for cpus in sets] == [cpus <= pools.dedicated for cpus in wanted.vcpus]
    assert pins.realtime == wanted.realtime
    assert emulator_kind(pins, sets, server) == ours.emulator_placement
    if ours.emulator_placement is EmulatorPlacement.POOL:
        assert pins.emulator == wanted.overhead
    assert set(pages_of(theirs)) == {cell.page_kib for cell in ours.cells if cell.page_kib > 4}


def pages_of(guest: HostGuest) -> Iterator[int]:
    """The sizes of the huge pages that a definition takes."""
    for pages in guest.pages:
        yield pages.size_kib


def emulator_kind(pins: DefinedPins, sets: tuple[CpuSet, ...], server: Server) -> EmulatorPlacement:
    """Where Nova put the emulator threads, in pinfold's words."""
    pools = state(server.host).pools
    emulator = pins.emulator or pins.placement or state(server.host).topology.online
    own = CpuSet(cpu for vcpu, cpus in enumerate(sets) if vcpu not in pins.realtime for cpu in cpus)
    if emulator == own:
        return EmulatorPlacement.FLOAT
    if emulator <= pools.dedicated and len(emulator) == 1 and emulator.isdisjoint(own):
        return EmulatorPlacement.ISOLATED
    assert pools.overhead is not None
    assert emulator == pools.overhead
    return EmulatorPlacement.POOL
