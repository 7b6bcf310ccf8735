"""The map of a surveyed host: what the survey and the comparison of threads with records add to the host's state. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, two_owners
from pinfold.core.host_map import HostMap, Observed, Owner, Stranger, host_map
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.port import HostGuest
from pinfold.host.audit import Audit
from pinfold.host.claims import owners, places_of
from pinfold.host.places import Places, places
from pinfold.host.survey import Survey, own_pins
from pinfold.host.verify import Verdict


def map_of(seen: Survey, verdicts: Iterable[Verdict] = (), host_findings: Iterable[Finding] = ()) -> HostMap:
    """The map of a surveyed host. `verdicts` are those on guests whose threads were read, `host_findings` are about the host."""
    found = tuple(verdicts)
    observed = Observed(
        names={guest.id: guest.server or guest.name for guest in seen.guests},
        strangers=tuple(_stranger(guest, seen) for guest in seen.guests if guest.record is None),
        findings=(*two_owners(owners(seen)), *host_findings, *(finding for verdict in found for finding in verdict.findings)),
        judged=frozenset(verdict.guest.id for verdict in found),
        vhost=_vhost(found),
    )
    return host_map(seen.state, observed)


def audited_map(found: Audit) -> HostMap:
    """The map of an audited host."""
    return map_of(found.seen, found.guests, found.host_findings)


def _vhost(verdicts: Iterable[Verdict]) -> CpuSet | None:
    """The pCPUs on which vhost threads of the guests may run; None if nobody looked at threads."""
    seen = [verdict.observation.threads for verdict in verdicts if verdict.observation is not None]
    vhost = (thread.allowed for threads in seen for thread in threads if thread.thread_class is ThreadClass.VHOST)
    return CpuSet.union(vhost) if seen else None


def _stranger(guest: HostGuest, seen: Survey) -> Stranger:
    """A guest without a record of ours, by its pins. Only a running one has threads that float."""
    held = _held(guest, seen)
    if not guest.active:
        return Stranger(held=held)
    online, pool = seen.state.topology.online, seen.state.pools.overhead
    now, home = places(guest, seen.state.pools), places_of(seen, guest)
    return Stranger(
        held=held,
        floats=now.floats,
        floating=online if now.floating is None else now.floating,
        overhead=(online if now.emulator is None else now.emulator) - now.pinned,
        pooled=pool is not None and bool(home.pinned and home.emulator and home.emulator <= pool),
    )


def _held(guest: HostGuest, seen: Survey) -> tuple[tuple[int, Owner], ...]:
    """The dedicated pCPUs that a foreign guest belongs on, or that one of its definitions pins it to."""
    home = places_of(seen, guest)
    kept = () if guest.kept is None else guest.kept.vcpus
    pins = {cpu: vcpu for vcpu, cpus in (*reversed(guest.pins.vcpus), *reversed(kept)) for cpu in cpus}
    judged = guest.nova is not None and not guest.problem and seen.configured is not None
    return tuple(
        (
            cpu,
            Owner(
                guest=guest.id,
                name=guest.server or guest.name,
                role=Role.FOREIGN,
                thread_class=ThreadClass.VCPU if cpu in pins else ThreadClass.EMULATOR,
                vcpu=pins.get(cpu),
                stray=judged and not _belongs(cpu, home),
            ),
        )
        for cpu in own_pins(guest, seen.state.topology) & seen.state.pools.dedicated
    )


def _belongs(cpu: int, home: Places) -> bool:
    sets: tuple[CpuSet | None, ...] = (home.pinned, home.floating, home.emulator)
    return any(cpus is None or cpu in cpus for cpus in sets)
