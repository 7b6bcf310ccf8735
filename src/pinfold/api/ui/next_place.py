"""Where the next guest of a flavor would go, and what the nearest of the other hosts lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pinfold.api.dependencies import ApiServices
from pinfold.api.ui.fits import refusals_first
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import PinfoldError
from pinfold.core.identity import GuestId, HostId
from pinfold.core.plural import pcpus
from pinfold.core.request.aggregate_specs import aggregate_specs
from pinfold.core.request.model import Flavor
from pinfold.core.request.promises import compile_for_server
from pinfold.scheduler.model import Candidate, HostSearch

_MOST_PLACES: Final = 3


class Place(Struct, frozen=True, kw_only=True):
    """A host for the next guest, the pCPUs that the guest would take or float on, and what is said about it."""

    id: HostId
    host: str
    cpus: CpuSet
    words: str


def next_places(services: ApiServices, flavor: Flavor, notes: Mapping[HostId, str]) -> tuple[tuple[Place, ...], str]:
    """The best places for the next guest of a flavor, the best first, and what the nearest of the other hosts lacks.

    `notes` are words about each host. The scheduler chooses among its best by the guest's id, so that several API processes do not want
    the same host.
    """
    try:
        search = HostSearch(guest=GuestId(""), request=compile_for_server(flavor), aggregates=aggregate_specs(flavor))
        found = services.fleet.scheduler.preview(search)
    except PinfoldError as error:
        return (), str(error)
    places = tuple(_place(one, notes.get(one.host, "")) for one in found.candidates[:_MOST_PLACES])
    nearest = next(iter(refusals_first(found.refusals)), None)
    if nearest is None:
        return places, "" if places else "there is no host"
    return places, f"{nearest.name}: {nearest.no_fit.sentence()}"


def _place(one: Candidate, note: str) -> Place:
    cpus = one.fit.taken or one.fit.floating
    return Place(id=one.host, host=one.name, cpus=cpus, words="; ".join(filter(None, (pcpus(str(cpus)), note))))
