"""The page of a re-pin: the plan step by step, what became of the last one, and for an admin the form that carries it out."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.ui.render import render
from pinfold.api.v1.capacity import MOST_FLAVORS, stored_flavors
from pinfold.api.v1.hosts import map_of_host
from pinfold.core.cpuset import CpuSet
from pinfold.core.plural import count, pcpus
from pinfold.core.repin.gain import gain, no_move
from pinfold.core.repin.plan import Repin
from pinfold.core.repin.progress import Phase, Progress
from pinfold.drawing.plan import PlanView, repin_view
from pinfold.drawing.tiles import guest_letters, owners_of, tile_of
from pinfold.service.claims.repin import RepinPlan
from pinfold.store.records import HostRecord


def repin_page(services: ApiServices, caller: Caller, host: HostRecord) -> str:
    """The plan for a host, for all stored flavors. Raises `ApiError` 403 for a reader."""
    if not caller.admin:
        raise ApiError(403, f"The account {caller.name} may read only.")
    known, _ = stored_flavors(services, (), MOST_FLAVORS)
    found = services.fleet.repinner.plan(host.id, known)
    last = found.host.repin
    return render(
        "repin.html",
        account=caller.name,
        live=f"/ui/hosts/{host.id}/live",
        host=found.host,
        view=_view(services, found),
        no_move=no_move(found.found),
        guests=count(len({step.guest for step in found.found.steps}), "guest"),
        progress="" if last is None else progress_sentence(last, found.names),
        refusal=_refusal(found.host, last),
    )


def repin(services: ApiServices, host: HostRecord, revision: str) -> None:
    """Carry out the plan that was shown for that revision. Raises `ApiError` 400, `Conflict`."""
    if not (revision.isascii() and revision.isdecimal() and len(revision) < 19):
        raise ApiError(400, f"The revision is {revision[:40]!r}; it must be the number that the page of the plan has.")
    known, _ = stored_flavors(services, (), MOST_FLAVORS)
    services.fleet.repinner.apply(host.id, known, revision=int(revision))


def progress_sentence(last: Progress, names: Mapping[str, str]) -> str:
    """What has become of a plan that was carried out."""
    number = count(len(last.moves), "guest")
    failure = f"{last.failure}; " if last.failure else ""
    if last.phase is Phase.MOVED:
        return f"{number} moved."
    if last.phase is Phase.UNDONE:
        return f"{failure}every guest is where it was."
    way = "back to where they were" if last.phase is Phase.TURNING_BACK else "to their new places"
    missing = [names.get(move.guest, move.guest) for move in last.moves if not move.arrived]
    return f"{failure}{number} on the way {way}; not there yet: {', '.join(missing) or 'none'}."


def _view(services: ApiServices, plan: RepinPlan) -> PlanView:
    chart = map_of_host(services, plan.host)[0]
    named = guest_letters(owners_of(chart))
    return repin_view(
        ((named.get(step.guest, "?"), plan.names[step.guest], step.moves) for step in plan.found.steps),
        {pcpu.pcpu: tile_of(pcpu, named).text for pcpu in chart.pcpus},
        gain=gain(_slots(plan.found, more=True)),
        loss=gain(replace(_slots(plan.found, more=False), freed=CpuSet())),
        left=(
            *(f"guest {stay.name} keeps {pcpus(str(stay.pcpus))}: {stay.why}" for stay in plan.stays),
            *(f"flavor {one.flavor} is not counted: {one.why}" for one in plan.not_counted),
        ),
    )


def _slots(found: Repin, *, more: bool) -> Repin:
    """The plan with those numbers alone that get larger, or smaller."""
    return replace(
        found,
        slots=tuple(one for one in found.slots if (one.after > one.before) is more),
        sizes=tuple(one for one in found.sizes if (one.after > one.before) is more),
    )


def _refusal(host: HostRecord, last: Progress | None) -> str:
    """Why the plan cannot be carried out now, '' if it can."""
    if not host.up:
        return f"The agent of {host.name} is silent, so its guests cannot be moved now."
    if last is not None and last.under_way:
        return "Guests are on their way by the last plan. Another one may follow when they have arrived."
    return ""
