"""What a simulation leaves out: hosts without a pCPU for vCPUs, and requests that fit on no empty host. Whatever runs plays no part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.count import Counts
from pinfold.core.fit.engine import search
from pinfold.core.fit.slots import Resource, free_slots
from pinfold.core.plural import count, listed
from pinfold.scheduler.index import counts_of
from pinfold.simulation.fleet import demand, state_of, takes_part
from pinfold.simulation.model import GuestMix, GuestShape, LeftOutShape, Plan, Setting, SimulatedFleet
from pinfold.simulation.sentences import setting_text

_LACKS: Final = {Resource.OVERHEAD: "the overhead pool is too small", Resource.MEMORY: "too little memory in one host cell"}
_TOO_FEW: Final = "too few pCPUs in one host cell"


class Exclusions(Struct, frozen=True, kw_only=True):
    """What one setting leaves out: the numbers of hosts, and the shapes with what the empty hosts lack for them."""

    setting: Setting
    hosts: tuple[int, ...] = ()
    shapes: tuple[LeftOutShape, ...] = ()

    def leaves_out(self, shape: GuestShape) -> bool:
        """Whether requests of that shape are left out."""
        return any(one.shape == shape for one in self.shapes)


def exclusions(plan: Plan) -> tuple[Exclusions, ...]:
    """What each setting leaves out, without the settings that no host can have. Pure.

    Raises `InvalidRequest` if no host can have any of the settings.
    """
    found = []
    for setting in plan.settings:
        hosts = _too_small(plan.fleet, setting)
        if len(hosts) < plan.fleet.hosts:
            found.append(Exclusions(setting=setting, hosts=hosts, shapes=_misfits(plan, setting)))
    if not found:
        most = max(len(topology.online) for topology in plan.fleet.used())
        raise InvalidRequest(f"{_too_few_pcpus(most, plan.fleet, plan.settings[0])}: none is left for vCPUs")
    return tuple(found)


def warnings(plan: Plan, found: Sequence[Exclusions]) -> tuple[str, ...]:
    """What is left out, in sentences: settings, hosts, and requests, each with where the first of them stands."""
    kept = [one.setting for one in found]
    said = [
        f"{setting_text(setting)} is left out: no host has a pCPU for vCPUs beside {plan.fleet.reserve} reserved "
        f"and {setting.pool_pcpus} in the overhead pool"
        for setting in plan.settings
        if setting not in kept
    ]
    for hosts, group in groupby(sorted(found, key=lambda one: (len(one.hosts), one.hosts)), key=lambda one: one.hosts):
        if hosts:
            said.append(_of_hosts(plan.fleet, hosts, [one.setting for one in group], len(found)))
    everywhere = [one for one in found[0].shapes if all(other.leaves_out(one.shape) for other in found)]
    if everywhere:
        said.append(_of_shapes(plan.mix, everywhere, ""))
    known = {one.shape for one in everywhere}
    rests: dict[tuple[LeftOutShape, ...], list[Setting]] = {}
    for one in found:
        rests.setdefault(tuple(shape for shape in one.shapes if shape.shape not in known), []).append(one.setting)
    said += [_of_shapes(plan.mix, rest, f" under {_names(settings)}") for rest, settings in rests.items() if rest]
    return tuple(said)


def _too_small(fleet: SimulatedFleet, setting: Setting) -> tuple[int, ...]:
    used = fleet.used()
    small = {place for place, topology in enumerate(used) if not takes_part(topology, fleet.reserve, setting.pool_pcpus)}
    return tuple(number for number in range(fleet.hosts) if number % len(used) in small) if small else ()


def _misfits(plan: Plan, setting: Setting) -> tuple[LeftOutShape, ...]:
    """The shapes that no empty host takes. Large hosts are asked first, since they take most shapes."""
    distinct = sorted(dict.fromkeys(plan.fleet.used()), key=lambda topology: -len(topology.online))
    states = [state_of(topology, plan.fleet, setting.pool_pcpus) for topology in distinct]
    hosts = [counts_of(state) for state in states if state is not None]
    found = []
    for shape in dict.fromkeys(plan.mix.shapes):
        wanted = demand(shape, setting.policy)
        if not any(search(wanted, counts) for counts in hosts):
            places = [place for place, one in enumerate(plan.mix.shapes) if one == shape]
            first = plan.mix.sources[places[0]] if plan.mix.sources else None
            found.append(LeftOutShape(shape=shape, lacks=_lack(shape, setting, hosts), requests=len(places), first=first))
    return tuple(found)


def _lack(shape: GuestShape, setting: Setting, hosts: Sequence[Counts]) -> Resource:
    """The resource that would let the shape fit if there were enough of it; pCPUs if it is no other one."""
    wanted = demand(shape, setting.policy)
    for resource in _LACKS:
        if any(free_slots(wanted, counts, 1, ignored=frozenset({resource})) for counts in hosts):
            return resource
    return Resource.PCPUS


def _of_hosts(fleet: SimulatedFleet, hosts: Sequence[int], settings: Sequence[Setting], of: int) -> str:
    under = "" if len(settings) == of else f" of {_names(settings)}"
    place = hosts[0] % len(fleet.topologies)
    where = f"{fleet.sources[place]}: " if fleet.sources else ""
    why = _too_few_pcpus(len(fleet.topologies[place].online), fleet, settings[0])
    return f"{where}{why}; {len(hosts):,} of {count(fleet.hosts, 'host')} {_are(len(hosts))} left out{under}"


def _too_few_pcpus(pcpus: int, fleet: SimulatedFleet, setting: Setting) -> str:
    pool = f" and have an overhead pool of {setting.pool_pcpus}" if setting.pool_pcpus else ""
    return f"a host of {count(pcpus, 'pCPU')} cannot reserve {fleet.reserve}{pool}"


def _of_shapes(mix: GuestMix, shapes: Sequence[LeftOutShape], under: str) -> str:
    first = shapes[0]
    where = first.first or f"mix {mix.name}"
    cell = "" if first.shape.cells > 1 else ", 1 cell"
    number = sum(one.requests for one in shapes)
    of = count(len(mix.shapes), "request" if mix.ordered else "shape")
    return (
        f"{where}: a guest of {first.shape.text()}{cell} fits on no host of this fleet{under}, not even on an empty one: "
        f"{_LACKS.get(first.lacks, _TOO_FEW)}; {number:,} of {of} {_are(number)} left out{' there' if under else ''}"
    )


def _names(settings: Sequence[Setting]) -> str:
    return listed([setting_text(setting) for setting in settings], "and")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
