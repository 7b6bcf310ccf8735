"""The routes for agents' reports and orders. Their bodies are values of `agent.wire`."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import Body, Depends, Query, Response
from fastapi.responses import FileResponse
from msgspec import UNSET
from msgspec.structs import replace

from pinfold.agent.wire import PROTOCOL, Absence, GuestReport, Hello, Orders, Welcome
from pinfold.api.agent.earlier_protocols import orders_1, orders_2
from pinfold.api.agent.orders import LONGEST_WAIT, read_orders, unchanged, wait_for_news
from pinfold.api.agent.tokens import agent_host
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import read_catalog
from pinfold.api.image.routes import BYTES
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.core.config_drive import GuestConfig
from pinfold.core.drift.written import FindingsReport, accept
from pinfold.core.encoding import encode, plain, reader
from pinfold.core.errors import not_found
from pinfold.core.guest_questions import GuestAnswer
from pinfold.core.history import HistoryAnswer
from pinfold.core.identity import GuestId, HostId
from pinfold.core.repair_question import RepairAnswer
from pinfold.service.guests.interfaces import SeenInterfaces
from pinfold.service.guests.reports import ClaimName
from pinfold.service.hosts import OtherHost
from pinfold.store import guest_configs, guests
from pinfold.store.hosts import Heard

router = Router(prefix="/agent/v1", tags=["agents"])
_COUNT_ALONE: Final = 4
"""From this protocol on, an agent takes the count alone also for a poll that is no sign of life."""

_read_hello = reader(Hello)
_read_guest_report = reader(GuestReport)
_read_absence = reader(Absence)
_read_history = reader(HistoryAnswer)
_read_answer = reader(GuestAnswer)
_read_repair = reader(RepairAnswer)

Host = Annotated[HostId, Depends(agent_host)]
HelloBody = Annotated[dict[str, Any], Body(), written_as(Hello)]
GuestReportBody = Annotated[dict[str, Any], Body(), written_as(GuestReport)]
AbsenceBody = Annotated[dict[str, Any], Body(), written_as(Absence)]
FindingsBody = Annotated[dict[str, Any], Body(), written_as(FindingsReport)]
AnswerBody = Annotated[dict[str, Any], Body(), written_as(GuestAnswer)]
HistoryBody = Annotated[dict[str, Any], Body(), written_as(HistoryAnswer)]
RepairBody = Annotated[dict[str, Any], Body(), written_as(RepairAnswer)]
WelcomeAnswer = Annotated[dict[str, Any], written_as(Welcome)]
ConfigAnswer = Annotated[dict[str, Any], written_as(GuestConfig)]
_EARLIER = {
    "title": "EarlierOrders",
    "description": "The form for an agent of an earlier protocol.",
    "type": "object",
    "properties": {"count": {"type": "integer"}, "orders": {"type": "array"}, "tombstones": {"type": "array"}},
    "required": ["count", "orders", "tombstones"],
}
OrdersAnswer = Annotated[dict[str, Any], written_as(Orders, _EARLIER)]


@router.put("/host", responses={403: {}})
def report_host(body: HelloBody, host: Host, services: Services) -> WelcomeAnswer:
    """Store the report of the agent's host, which also counts as a heartbeat. A change that raises the revision reaches Placement before
    the response, or as soon as Placement is back; the claims of guests whose threads it moves are amended.
    """
    hello = _read_hello(body, "host report")
    try:
        heard = services.fleet.hosts.report(host, hello.name, hello.report, lease_seconds=services.lease_seconds)
    except OtherHost as error:
        raise ApiError(403, str(error)) from error
    return _welcome(services, host, heard)


@router.put("/host/findings", status_code=204, response_class=Response)
def report_findings(body: FindingsBody, host: Host, services: Services) -> Response:
    """Store what the audit of the agent's host found, in place of what the one before it found."""
    services.fleet.hosts.keep_findings(host, accept(body))
    return Response(status_code=204)


@router.put("/host/history", status_code=204, response_class=Response)
def report_history(body: HistoryBody, host: Host, services: Services) -> Response:
    """Keep the samples of the agent's host for those who asked."""
    services.fleet.hosts.keep_history(host, _read_history(body, "history"))
    return Response(status_code=204)


@router.put("/host/answer", status_code=204, response_class=Response)
def report_answer(body: AnswerBody, host: Host, services: Services) -> Response:
    """Keep what the agent of the host says about one of its guests for whoever asked."""
    services.fleet.questions.keep(host, _read_answer(body, "answer"))
    return Response(status_code=204)


@router.post("/heartbeat")
def heartbeat(host: Host, services: Services) -> WelcomeAnswer:
    """Extend the lease of the agent's host, which has not changed."""
    return _welcome(services, host, services.fleet.hosts.heartbeat(host, lease_seconds=services.lease_seconds))


@router.delete("/host", status_code=204, response_class=Response)
def say_goodbye(host: Host, services: Services) -> Response:
    """End the lease of the agent's host: it is down from now on. Its guests go on."""
    services.fleet.hosts.end_lease(host)
    return Response(status_code=204)


@router.get("/orders")
async def wait_for_orders(
    host: Host,
    services: Services,
    after: Annotated[int, Query(ge=-1)] = -1,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
    protocol: Annotated[int, Query(ge=1, le=1000, description="The version of the protocol that the agent speaks.")] = 1,
    alive: Annotated[bool, Query(description="Whether the request is a sign of life, which renews a lease that has not run out.")] = False,
) -> OrdersAnswer:
    """All orders of the host, as soon as their count differs from `after`, or after `wait` seconds.

    Where the count has not changed, the answer is the count alone, without a sign of life only from protocol 4 on; with the lease that a
    sign of life has renewed. Agents ask for the latter with `early=true`: then it may come at once, in a line of its own before the answer,
    which is application/x-ndjson.
    """
    waited = await wait_for_news(services, host, after=after, wait=wait, alive=alive)
    alone = alive or protocol >= _COUNT_ALONE
    orders = unchanged(services, waited) if alone and waited.count == after else await in_thread(read_orders, services, host)
    return _in_form[min(protocol, PROTOCOL)](orders)


@router.get("/guests/{guest_id}/config")
def show_config(guest_id: GuestId, host: Host, services: Services) -> ConfigAnswer:
    """What the config drive of one of the host's guests holds, until it is made."""
    with services.database.read() as connection:
        guest = guests.find(connection, guest_id)
        config = None if guest is None or guest.host != host else guest_configs.find(connection, guest_id)
    if config is None:
        raise not_found("The configuration of guest", guest_id)
    return _object(config)


@router.post("/guests/{guest_id}", status_code=204, response_class=Response)
def report_guest(guest_id: GuestId, body: GuestReportBody, host: Host, services: Services) -> Response:
    """Store what one of the host's guests is doing, and where its threads are."""
    report = _read_guest_report(body, "guest report")
    threads = None if report.threads is None else encode(replace(report.threads, reported=time.time()))
    named = ClaimName(claim=report.claim, revision=report.revision)
    services.fleet.reports.seen(
        host,
        guest_id,
        named,
        report.observed,
        booted=report.boot,
        report=threads,
        failure=report.failure,
        unmoved=report.unmoved,
        interfaces=_seen_interfaces(report),
    )
    if report.not_paused:
        services.fleet.reports.not_paused(host, guest_id, named, report.not_paused)
    return Response(status_code=204)


@router.post("/guests/{guest_id}/absence", status_code=204, response_class=Response)
def report_absence(guest_id: GuestId, body: AbsenceBody, host: Host, services: Services) -> Response:
    """Confirm that neither domain nor process of a guest remains on the host: its claim may be released."""
    absence = _read_absence(body, "absence")
    services.fleet.reports.absent(host, guest_id, ClaimName(claim=absence.claim, revision=absence.revision), absence.failure)
    return Response(status_code=204)


@router.put("/guests/{guest_id}/repair", status_code=204, response_class=Response)
def report_repair(guest_id: GuestId, body: RepairBody, host: Host, services: Services) -> Response:
    """Keep what became of a repair of one of the host's guests, for those who asked for it."""
    services.fleet.repairs.keep(host, guest_id, _read_repair(body, "repair"))
    return Response(status_code=204)


@router.get("/images/{name}", response_class=FileResponse, responses={200: BYTES}, dependencies=[Depends(agent_host)])
def download_image(name: str, services: Services) -> FileResponse:
    """An image's bytes by its name, for an agent whose own directory lacks it. The file's suffix is in `X-Pinfold-Suffix`."""
    for image in read_catalog(services.images):
        if image.name == name:
            return FileResponse(image.path, media_type="application/octet-stream", headers={"X-Pinfold-Suffix": image.suffix})
    raise not_found("Image", name)


def _seen_interfaces(report: GuestReport) -> SeenInterfaces | None:
    if report.interfaces is UNSET:
        return None
    failures = {failed.mac: failed.why for failed in report.interfaces.failures}
    return SeenInterfaces(revision=report.revision, macs=frozenset(report.interfaces.macs), failures=failures)


def _welcome(services: ApiServices, host: HostId, heard: Heard) -> WelcomeAnswer:
    seconds = services.lease_seconds
    welcome = Welcome(host=host, revision=heard.revision, report=heard.report, orders=heard.orders, lease_seconds=seconds)
    return _object(welcome)


def _object(value: Welcome | Orders | GuestConfig) -> dict[str, Any]:
    answer: dict[str, Any] = plain(value)
    return answer


_in_form: Final = {1: orders_1, 2: orders_2, 3: _object, PROTOCOL: _object}
