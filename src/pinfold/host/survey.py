"""Read one host: topology, pools, our guests' records as claims, and all other guests as foreign. Decides nothing."""

from __future__ import annotations

import difflib
import socket

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import Claim, Foreign, HostState, Ledger
from pinfold.core.pools import Pools, build_pools, configured_pools
from pinfold.core.settings import HostSettings
from pinfold.core.topology import Topology
from pinfold.core.traits import own_traits
from pinfold.drivers.port import DefinedPins, Driver, HostGuest
from pinfold.linux import cgroup, sysfs


class Survey(Struct, frozen=True, kw_only=True):
    """One host at one moment: its state as the engine reads it, every guest (ordered by id), and the warnings about its pools.

    `reserved_pcpus` of the shared pool are kept for the host. `power_managed` means that Nova switches dedicated pCPUs off and on.
    `configured` are the pools with their offline members, None if no file configures pools. `own_machine`: the host is this machine.
    `processor_traits` are those of the processor that new guests get, None if they are not known.
    `inputs` is everything that the survey was made of: the same inputs give the same survey.
    """

    state: HostState
    guests: tuple[HostGuest, ...]
    warnings: tuple[str, ...] = ()
    reserved_pcpus: int = 0
    power_managed: bool = False
    configured: Pools | None = None
    own_machine: bool = False
    processor_traits: tuple[str, ...] | None = None
    inputs: tuple[object, ...] = ()

    @property
    def switched_off(self) -> CpuSet:
        """The dedicated pCPUs that Nova has switched off until a guest needs them."""
        return self.state.pools.dedicated - self.state.topology.online if self.power_managed else CpuSet()

    @property
    def ours(self) -> tuple[HostGuest, ...]:
        """The guests with a readable record of ours, running or not."""
        return tuple(guest for guest in self.guests if guest.record is not None)

    def guest(self, key: str) -> HostGuest:
        """The guest with that name or id, ours or foreign. Raises `InvalidRequest` with the nearest name if there is none."""
        return pick(self.guests, key)


def pick(guests: tuple[HostGuest, ...], key: str) -> HostGuest:
    """The guest with that name or id, or the only server with that name.

    Raises `InvalidRequest` with the nearest name if there is none, and if several guests or servers have the name.
    """
    found = [guest for guest in guests if key == guest.id] or [guest for guest in guests if key == guest.name]
    if len(found) > 1:
        raise InvalidRequest(
            f"several guests are called {key!r}; give the id, one of {', '.join(guest.id for guest in found)}", key="guest"
        )
    if found:
        return found[0]
    servers = [guest for guest in guests if guest.server == key]
    if len(servers) == 1:
        return servers[0]
    if servers:
        names = ", ".join(guest.name for guest in servers)
        raise InvalidRequest(f"several servers are called {key!r}; name one of the guests {names}", key="guest")
    near = difflib.get_close_matches(key, [name for guest in guests for name in names_of(guest)], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InvalidRequest(f"there is no guest {key!r} on this host{hint}", key="guest")


def names_of(guest: HostGuest) -> tuple[str, ...]:
    """The names of a guest: the hypervisor's, then that of its server, if any."""
    return (guest.name, guest.server) if guest.server else (guest.name,)


def survey(driver: Driver, settings: HostSettings, before: Survey | None = None) -> Survey:
    """Survey the host as it is now; `before` itself if nothing has changed since that survey.

    A stopped guest of ours keeps its claim. A claimed pCPU that has left the dedicated pool stays claimed; it is retiring.
    Raises `Unavailable` if the hypervisor is away, `InvalidRequest` if the pools do not fit the host.
    """
    topology = driver.topology()
    own = driver.local and own_machine(topology)
    # The files of this machine do not describe a remote host and a synthetic lab, so nothing is known there.
    isolated, usable = (sysfs.isolated(), cgroup.machine_cpus()) if own else (CpuSet(), None)
    name = settings.host or (socket.gethostname() if driver.local else driver.uri)
    guests, processor = driver.guests(), driver.processor_traits()
    inputs = (name, settings, topology, own, isolated, usable, guests, processor)
    if before is not None and before.inputs == inputs:
        return before
    pools, warnings = build_pools(settings.pools, topology, isolated=isolated, usable=usable)
    others = [foreign(guest, pools, topology) for guest in guests if guest.record is None]
    owned = CpuSet(cpu for guest in guests if guest.record is not None for cpu in guest.record.fit.taken)
    others += [found for guest in guests if (found := lingering(guest, pools.dedicated - owned)) is not None]
    ledger = Ledger(
        claims=tuple(Claim(guest=guest.id, fit=guest.record.fit) for guest in guests if guest.record is not None),
        foreign=tuple(sorted(others, key=lambda other: other.name)),
    )
    state = HostState(
        topology=topology,
        pools=pools,
        limits=settings.limits,
        ledger=ledger,
        traits=own_traits(topology, pools).union(processor or ()),
        name=name,
    )
    return Survey(
        state=state,
        guests=guests,
        warnings=tuple(warnings),
        reserved_pcpus=settings.reserved_pcpus,
        power_managed=settings.pools.power_managed,
        configured=configured_pools(settings.pools),
        own_machine=own,
        processor_traits=processor,
        inputs=inputs,
    )


def foreign(guest: HostGuest, pools: Pools, topology: Topology) -> Foreign:
    """What a foreign guest holds: its pins within the dedicated pool, and its memory while it runs. Pure.

    A stopped guest keeps its pins, because it comes back to these pCPUs, but holds no memory.
    """
    pages, memory = (guest.pages, guest.small_mib) if guest.active else ((), 0)
    return Foreign(name=guest.name, cpus=own_pins(guest, topology) & pools.dedicated, pages=pages, memory_mib=memory)


def lingering(guest: HostGuest, unowned: CpuSet) -> Foreign | None:
    """The `unowned` dedicated pCPUs where threads of a running guest of ours still run, from before the pools changed; None for none.

    Nobody is pinned there until the threads have left. Pure.
    """
    if guest.record is None or not guest.active:
        return None
    left = (guest.record.fit.emulator | guest.record.fit.floating) & unowned
    return Foreign(name=f"threads of {guest.name}", cpus=left) if left else None


def own_pins(guest: HostGuest, topology: Topology) -> CpuSet:
    """Every pCPU that either definition of the guest pins a vCPU, the emulator or an iothread to. Pure.

    A running guest that somebody pinned elsewhere uses the pCPUs of its live definition now, and comes back to those of its persistent
    definition. A set that covers the whole host is ignored, because it binds nothing. So is `<vcpu cpuset>`, over which a guest floats.
    """
    sets = (cpus for pins in (guest.pins, guest.kept) if pins is not None for cpus in _pinned_sets(pins))
    return CpuSet.union(cpus for cpus in sets if not topology.online <= cpus)


def _pinned_sets(pins: DefinedPins) -> tuple[CpuSet, ...]:
    emulator = () if pins.emulator is None else (pins.emulator,)
    return (*(cpus for _, cpus in pins.vcpus), *emulator, *(cpus for _, cpus in pins.iothreads))


def own_machine(topology: Topology) -> bool:
    """Whether a local hypervisor's topology is this machine's own, so that sysfs and procfs show the same pCPUs."""
    return sysfs.online() == topology.online
