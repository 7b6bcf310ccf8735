"""Servers' placements in `/v1`, and fits of guests that do not exist yet."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response
from msgspec import Struct
from pydantic import Field

from pinfold.agent.wire import ThreadReport
from pinfold.api.caller import Caller, caller_of
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.image.variants import visible_images
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.v1.hosts import find
from pinfold.api.v1.thread_report import thread_report
from pinfold.core.encoding import plain
from pinfold.core.errors import not_found
from pinfold.core.fit.written import FitAnswer, Refusal, host_fit, refusal, written_refusal
from pinfold.core.identity import GuestId
from pinfold.core.request.aggregate_specs import aggregate_specs, by_aggregates
from pinfold.core.request.model import EmulatorPolicy, Flavor, GuestRequest, Image
from pinfold.core.request.promises import compile_for_server
from pinfold.scheduler.model import HostSearch
from pinfold.service.guests.faults import refused_by
from pinfold.store import claims, flavors, guests, hosts
from pinfold.store.records import Move, WrittenClaim, written_claim

router = Router(prefix="/v1", tags=["placements"])

Text = Annotated[str, Field(max_length=255)]


class InlineFlavor(RequestBody):
    """A flavor that is not stored."""

    vcpus: Annotated[int, Field(ge=1, le=0x7FFFFFFF)]
    ram: Annotated[int, Field(ge=1, le=0x7FFFFFFF)]
    disk: Annotated[int, Field(ge=0, le=0x7FFFFFFF)] = 0
    extra_specs: Annotated[dict[Text, Text], Field(max_length=128)] = Field(default_factory=dict)


class FitQuestion(RequestBody):
    """A flavor (by name or id, or inline) and an image (by name or id) to fit on any host or on one."""

    flavor: Text | InlineFlavor
    image: Text = ""
    host: Text = ""


class ServerName(Struct, frozen=True, kw_only=True):
    """A server's id and name."""

    id: GuestId
    name: str


class ServerPlacement(Struct, frozen=True, kw_only=True):
    """Where a server's threads are recorded to run, what its agent last saw of them, and what other hosts lacked.

    `moved` is null for a server that has always had the place of its creation.
    """

    server: ServerName
    host: str | None
    host_up: bool
    policy: EmulatorPolicy
    claim: WrittenClaim | None
    observed: ThreadReport | None
    moved: Move | None
    refusals: tuple[Refusal, ...]
    not_acted_upon: tuple[str, ...]


FitView = Annotated[dict[str, Any], written_as(FitAnswer)]
PlacementView = Annotated[dict[str, Any], written_as(ServerPlacement)]


@router.post("/fits", responses={404: {}})
def preview(body: FitQuestion, request: Request, services: Services) -> FitView:
    """The hosts that would take the guest, best first, and why the others would not. Nothing is claimed."""
    flavor = _flavor(services, body.flavor)
    wanted = compile_for_server(flavor, _image(services, caller_of(request), body.image))
    only = frozenset({find(services, body.host).id}) if body.host else None
    search = HostSearch(guest=GuestId(""), request=wanted, hosts=only, aggregates=aggregate_specs(flavor))
    answer = services.fleet.scheduler.preview(search)
    found = FitAnswer(
        candidates=tuple(host_fit(one.fit, one.name, one.revision) for one in answer.candidates),
        refusals=tuple(written_refusal(refusal(one.no_fit, one.name, one.revision)) for one in answer.refusals),
        not_acted_upon=_without_effect(wanted),
    )
    shown: FitView = plain(found)
    return shown


@router.get("/servers/{server_id}/placement")
def show_placement(server_id: GuestId, services: Services) -> PlacementView:
    """Where a server's vCPUs and emulator threads are recorded to run, and what its agent last saw of every thread."""
    with services.database.read() as connection:
        guest = guests.find(connection, server_id)
        if guest is None:
            raise not_found("Server", server_id)
        claim = claims.live(connection, server_id)
        host = hosts.get(connection, guest.host) if guest.host else None
    placement = ServerPlacement(
        server=ServerName(id=guest.id, name=guest.name),
        host=host.name if host else None,
        host_up=host is not None and host.up,
        policy=guest.request.emulator_policy,
        claim=None if claim is None else written_claim(claim),
        observed=thread_report(guest.id, guest.report),
        moved=guest.moved,
        refusals=refused_by(guest),
        not_acted_upon=_without_effect(guest.request),
    )
    shown: PlacementView = plain(placement)
    return shown


@router.post("/servers/{server_id}/rebook", status_code=204, response_class=Response)
def rebook(server_id: GuestId, services: Services) -> Response:
    """Book a server's overhead by today's options instead of earlier ones."""
    with services.database.read() as connection:
        guest = guests.find(connection, server_id)
    if guest is None or guest.deleted is not None:
        raise not_found("Server", server_id)
    services.fleet.rebooker.rebook(server_id)
    return Response(status_code=204)


def _without_effect(request: GuestRequest) -> tuple[str, ...]:
    """The keys that neither the guest nor the choice of its host depends on."""
    return tuple(name for name in request.not_acted_upon if not by_aggregates(name))


def _flavor(services: ApiServices, asked: str | InlineFlavor) -> Flavor:
    if isinstance(asked, InlineFlavor):
        return Flavor(vcpus=asked.vcpus, memory_mib=asked.ram, disk_gib=asked.disk, extra_specs=tuple(sorted(asked.extra_specs.items())))
    with services.database.read() as connection:
        found = flavors.named(connection, asked) or flavors.find(connection, asked)
    if found is None:
        raise ApiError(400, f"Flavor {asked} could not be found.")
    return found.flavor


def _image(services: ApiServices, caller: Caller, asked: str) -> Image | None:
    """The image of that name or id: the operator's, else a variant."""
    if not asked:
        return None
    found = [image for image in visible_images(services, caller) if asked in (image.name, image.id)]
    if len(found) > 1 and found[0].ownership is not None:
        raise ApiError(400, f"{len(found)} images are named {asked}; name one by its id.")
    if found:
        return found[0].as_image()
    raise ApiError(400, f"Image {asked} could not be found.")
