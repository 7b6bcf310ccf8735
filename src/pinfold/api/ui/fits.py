"""The refusal view: every host against every constraint, the first one that fails marked, the nearest miss first."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.ui.render import moment, render
from pinfold.core.errors import PinfoldError, not_found
from pinfold.core.identity import GuestId
from pinfold.core.reasons import Kind
from pinfold.core.refusals import Check, Constraint, Mark, checks, nearness
from pinfold.core.request.aggregate_specs import aggregate_specs
from pinfold.core.request.promises import compile_for_server
from pinfold.scheduler.model import HostRefusal, HostSearch, Preview
from pinfold.service.guests.faults import refused_by
from pinfold.store import flavors, guests
from pinfold.store.records import GuestRecord

MOST_HOSTS: Final = 100
_TITLES: Final = {
    Constraint.SERVICE: "the host is up, enabled, and has not changed meanwhile",
    Constraint.CONDITIONS: "traits, networks, aggregates, features and the processor that the request asks for",
    Constraint.POOLS: "the pools that the request needs are configured, and online",
    Constraint.OVERHEAD: "unbooked millicpu of the overhead pool; 1,000 millicpu are the whole time of one pCPU",
    Constraint.CELLS: "the cells (NUMA nodes) of the guest fit on those of the host all at once",
}
"""What a column means, where its name does not say it."""


class HostChecks(Struct, frozen=True, kw_only=True):
    """One host: the constraints, and in one sentence what it lacks, or where the guest would go."""

    name: str
    fits: bool
    checks: tuple[Check, ...]
    sentence: str

    @property
    def first(self) -> str:
        """The constraint that fails first, '' for none."""
        return next((check.constraint.value for check in self.checks if check.mark is Mark.FIRST), "")


def refusals_first(refusals: tuple[HostRefusal, ...]) -> list[HostRefusal]:
    """The refusals, the nearest miss first."""
    return sorted(refusals, key=lambda one: (nearness(one.no_fit.reasons), one.name))


def fits_page(services: ApiServices, caller: Caller, flavor: str) -> str:
    """Whether a guest of a flavor would fit, on which hosts, and why not on the others. Raises `ApiError` 404."""
    with services.database.read() as connection:
        known = {one.flavor.name: one for one in flavors.all(connection)}
        found = known.get(flavor) or flavors.find(connection, flavor)
    if found is None:
        raise ApiError(404, f"There is no flavor {flavor!r}.")
    try:
        request, groups = compile_for_server(found.flavor), aggregate_specs(found.flavor)
        answer = services.fleet.scheduler.preview(HostSearch(guest=GuestId(""), request=request, aggregates=groups))
    except PinfoldError as error:
        answer, problem = Preview(candidates=(), refusals=()), str(error)
    else:
        problem = ""
    title = f"Would a guest of flavor “{found.flavor.name}” fit?"
    return _page(caller, title, answer, problem=problem, flavors=sorted(known), flavor=found.flavor.name)


def refused_page(services: ApiServices, caller: Caller, guest_id: GuestId) -> str:
    """Which hosts would take a guest now, and why the others would not; and what was said when it was refused. Raises `NotFound`."""
    with services.database.read() as connection:
        guest = guests.find(connection, guest_id)
    if guest is None:
        raise not_found("Guest", guest_id)
    answer, problem = Preview(candidates=(), refusals=()), ""
    try:
        answer = services.fleet.scheduler.preview(services.fleet.guests.search(guest))
    except PinfoldError as error:
        problem = str(error)
    title = f"Which host takes “{guest.name}”?"
    when = moment(guest.fault.created) if guest.fault is not None and guest.fault.created else ""
    more = {"guest": guest.id, "name": guest.name, "before": _before(guest), "fault": guest.fault, "when": when}
    return _page(caller, title, answer, problem=problem, **more)


def _before(guest: GuestRecord) -> list[HostChecks]:
    """Why hosts refused the guest then, the nearest miss first. Of a failed start there is only a sentence."""
    found = sorted(refused_by(guest), key=lambda one: (not one.reasons, nearness(one.reasons), one.host))
    unknown = tuple(Check(constraint=one, mark=Mark.UNKNOWN) for one in Constraint)
    return [
        HostChecks(name=one.host, fits=False, checks=checks(one.reasons) if one.reasons else unknown, sentence=one.sentence)
        for one in found
    ]


def _page(caller: Caller, title: str, answer: Preview, **more: object) -> str:
    first = refusals_first(answer.refusals)
    taken = [
        HostChecks(name=one.name, fits=True, checks=checks(()), sentence=f"it would go to pCPUs {one.fit.taken or one.fit.floating}")
        for one in answer.candidates
    ]
    refused = [HostChecks(name=one.name, fits=False, checks=checks(one.no_fit.reasons), sentence=one.no_fit.sentence()) for one in first]
    rows = (*taken, *refused)
    values: dict[str, object] = {"flavors": (), "flavor": "", "guest": "", "name": "", "before": (), "fault": None, "when": "", **more}
    return render(
        "fits.html",
        account=caller.name,
        live="",
        title=title,
        answer=_answer(answer),
        constraints=tuple(Constraint),
        titles={one.value: _TITLES.get(one, "") for one in Constraint},
        rows=rows[:MOST_HOSTS],
        left_out=len(rows[MOST_HOSTS:]),
        **values,
    )


def _answer(answer: Preview) -> str:
    """One sentence for the top of the page."""
    hosts = len(answer.candidates) + len(answer.refusals)
    if not hosts:
        return "No host was looked at."
    if answer.candidates:
        return f"Yes: {len(answer.candidates)} of {hosts} hosts would take it, {answer.candidates[0].name} best."
    nearest = refusals_first(answer.refusals)[0]
    never = all(one.no_fit.kind is Kind.INFEASIBLE for one in answer.refusals)
    ever = "It can never fit on these hosts, even if they were empty. " if never else ""
    return f"No: none of {hosts} hosts takes it. {ever}The nearest miss is {nearest.name}: {nearest.no_fit.sentence()}."
