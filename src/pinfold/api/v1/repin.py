"""Re-pin the running guests of a host in `/v1`: the plan with its gain, and carry it out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.v1.capacity import MOST_FLAVORS, stored_flavors
from pinfold.api.v1.hosts import find
from pinfold.core.encoding import plain
from pinfold.core.identity import HostId
from pinfold.core.repin.gain import gain, no_move
from pinfold.core.repin.written import HostRepin, WrittenStep, written_progress
from pinfold.service.claims.repin import RepinPlan
from pinfold.store import guests, hosts

router = Router(prefix="/v1/hosts/{name}/repin", tags=["hosts"])

HostRepinAnswer = Annotated[dict[str, Any], written_as(HostRepin)]
FlavorName = Annotated[str, Field(max_length=255)]


class Repinning(BaseModel):
    """The body: the flavors (by name or id) whose guests the gain counts, none for all of them; and the host's revision in the plan that
    was looked at, null for any.
    """

    model_config = ConfigDict(extra="forbid")
    flavors: Annotated[list[FlavorName], Field(max_length=MOST_FLAVORS)] = []
    revision: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


@router.get("")
def show_repin(
    name: str,
    services: Services,
    flavor: Annotated[
        list[str] | None,
        Query(max_length=MOST_FLAVORS, description="A flavor by name or id whose guests the gain counts; may be repeated. Default: all."),
    ] = None,
) -> HostRepinAnswer:
    """Which running guests of a host to move inside their host cells, what that gains, and what became of the last plan."""
    host = find(services, name).id
    chosen, _ = stored_flavors(services, flavor or (), MOST_FLAVORS)
    return _shown(services, services.fleet.repinner.plan(host, chosen), host)


@router.post("", status_code=202)
def repin(name: str, body: Repinning, services: Services) -> HostRepinAnswer:
    """Move them: their claims change at once, and the host's agent moves their threads. If one cannot be moved, all go back.

    409 if the host has another revision than the body says, if its guests are on their way already, or if its agent is away.
    """
    host = find(services, name).id
    chosen, _ = stored_flavors(services, body.flavors, MOST_FLAVORS)
    return _shown(services, services.fleet.repinner.apply(host, chosen, revision=body.revision), host)


def _shown(services: ApiServices, plan: RepinPlan, host: HostId) -> HostRepinAnswer:
    found = plan.found
    with services.database.read() as connection:
        last = hosts.repin(connection, host)
        moved = [] if last is None else [move.guest for move in last.moves]
        names = {**guests.names(connection, moved), **plan.names}
    shown: HostRepinAnswer = plain(
        HostRepin(
            host=plan.host.name,
            revision=plan.host.revision,
            steps=tuple(WrittenStep(id=step.guest, name=names[step.guest], moves=step.moves) for step in found.steps),
            gain=gain(found),
            no_move="" if found.steps else no_move(found),
            freed=found.freed,
            slots=found.slots,
            sizes=found.sizes,
            stays=plan.stays,
            not_counted=plan.not_counted,
            last=None if last is None else written_progress(last, names),
        )
    )
    return shown
