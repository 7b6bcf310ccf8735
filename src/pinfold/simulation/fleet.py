"""The simulated hosts as the scheduler's index has them, and the demands of the guests. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import lru_cache

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.host import HostState
from pinfold.core.identity import HostId
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest
from pinfold.core.topology import Topology
from pinfold.scheduler.index import Entry, counts_of
from pinfold.simulation.model import GuestShape, SimulatedFleet


def entries(fleet: SimulatedFleet, pool_pcpus: int) -> Iterator[Entry]:
    """Every host, empty, with an overhead pool of so many pCPUs, without the hosts that have too few.

    No preference among host cells is set, as in a fresh configuration.
    """
    for number in range(fleet.hosts):
        topology = fleet.topologies[number % len(fleet.topologies)]
        state = state_of(topology, fleet, pool_pcpus, f"c{number:06}")
        if state is not None:
            yield Entry(
                id=HostId(str(uuid.UUID(int=number + 1))), name=state.name, counts=counts_of(state), strategy=Strategy.SPREAD, any_cell=True
            )


def state_of(topology: Topology, fleet: SimulatedFleet, pool_pcpus: int, name: str = "") -> HostState | None:
    """An empty host of this topology; None if it would have no pCPU for vCPUs."""
    if not takes_part(topology, fleet.reserve, pool_pcpus):
        return None
    pools = _pools(topology, fleet.reserve, pool_pcpus, fleet.pool_is_shared)
    return HostState(topology=topology, pools=pools, limits=fleet.limits, name=name, revision=1)


def takes_part(topology: Topology, reserve: int, pool_pcpus: int) -> bool:
    """Whether a pCPU is left for vCPUs beside the reserved ones and such a pool."""
    return len(topology.online) > reserve + pool_pcpus


@lru_cache(maxsize=4096)
def _pools(topology: Topology, reserve: int, pool_pcpus: int, shared: bool) -> Pools:
    """The first pCPUs, core by core from each cell in turn, are for the host itself, the next ones for overhead, the others for vCPUs."""
    most = max((len(cell.cores) for cell in topology.cells), default=0)
    ordered = [pcpu for place in range(most) for cell in topology.cells if place < len(cell.cores) for pcpu in cell.cores[place]]
    overhead = CpuSet(ordered[reserve : reserve + pool_pcpus])
    return Pools(
        shared=overhead if shared else CpuSet(),
        dedicated=CpuSet(ordered[reserve + pool_pcpus :]),
        overhead=overhead if pool_pcpus else None,
    )


@lru_cache(maxsize=4096)
def demand(shape: GuestShape, policy: EmulatorPolicy) -> Demand:
    """The demand of a guest of this shape, compiled once."""
    pins, memory = shape.vcpus // shape.cells, shape.memory_mib // shape.cells
    sets = [CpuSet(range(cell * pins, (cell + 1) * pins)) for cell in range(shape.cells)]
    return prepare(
        GuestRequest(
            vcpus=shape.vcpus,
            memory_mib=shape.memory_mib,
            cpu_policy=CpuPolicy.DEDICATED,
            emulator_policy=policy,
            cells=tuple(GuestCell(id=cell, vcpus=own, dedicated=own, memory_mib=memory) for cell, own in enumerate(sets)),
            disks=1,
            nics=1,
        )
    )
