"""The checks of `pinfold doctor` on the host itself: what its kernel does on the pCPUs of the pools. Drivers check their hypervisors."""

from __future__ import annotations

from pinfold.core.errors import PinfoldError
from pinfold.core.settings import HostSettings
from pinfold.drivers.checkup import Checkup, Needs
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host.checkups import kernel
from pinfold.host.checkups.facts import PcpuFacts, kernel_facts, pcpu_facts
from pinfold.host.checkups.pools import pool_checkups
from pinfold.host.checkups.starvation import RunningGuest, starvation
from pinfold.host.claims import subject_of
from pinfold.host.survey import Survey, own_machine

__all__ = ["host_checkups", "machine_facts"]


def machine_facts(driver: Driver, seen: Survey) -> PcpuFacts | None:
    """What the kernel says about the pCPUs of a surveyed host; None for a host whose pCPUs are not this machine's."""
    topology = seen.state.topology
    return pcpu_facts(topology.online | topology.offline) if driver.local and own_machine(topology) else None


def host_checkups(driver: Driver, settings: HostSettings, seen: Survey, facts: PcpuFacts | None, needs: Needs) -> list[Checkup]:
    """All checks of a surveyed host: its pools, then what the kernel does on them, then the threads of its guests."""
    pools, online = seen.state.pools, seen.state.topology.online
    found = pool_checkups(seen, facts, needs)
    if facts is not None:
        found += kernel.interrupts(pools.exclusive, online, facts, needs)
        found += kernel.governors(pools.exclusive & online, facts, needs)
    if driver.local:
        machine = kernel_facts()
        found += [kernel.page_recovery(machine, needs), kernel.throttling(machine, needs)]
        running = [_running(driver, settings, guest) for guest in seen.guests if guest.active]
        found += starvation(running, pools, online, driver.repair_command)
    return found


def _running(driver: Driver, settings: HostSettings, guest: HostGuest) -> RunningGuest:
    subject, ours = subject_of(settings, guest), guest.record is not None
    try:
        return RunningGuest(subject=subject, threads=driver.observe(guest).threads, ours=ours)
    except PinfoldError as error:
        return RunningGuest(subject=subject, ours=ours, problem=str(error))
