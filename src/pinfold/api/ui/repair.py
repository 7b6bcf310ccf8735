"""The page of a guest's repair: what is astray and where it would go, and for an admin the form that asks the guest's agent to move it."""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.ui.render import fact, moment, render
from pinfold.core.drift import Severity
from pinfold.core.drift.written import WrittenFinding
from pinfold.core.errors import not_found
from pinfold.core.identity import GuestId
from pinfold.core.repair_question import RepairResult
from pinfold.drawing.plan import PlanMove, PlanStep, PlanView
from pinfold.service.guests.repairs import refused
from pinfold.store import findings, guests, hosts, repairs
from pinfold.store.repairs import RepairRecord


def repair_page(services: ApiServices, caller: Caller, guest_id: GuestId) -> str:
    """The plan for a guest. Raises `NotFound`, and `ApiError` 403 for a reader."""
    if not caller.admin:
        raise ApiError(403, f"The account {caller.name} may read only.")
    with services.database.read() as connection:
        guest = guests.find(connection, guest_id)
        if guest is None:
            raise not_found("Guest", guest_id)
        host = hosts.get(connection, guest.host) if guest.host else None
        found = findings.of_host(connection, guest.host) if guest.host else ()
        last = repairs.of_guest(connection, guest_id)
    return render(
        "repair.html",
        account=caller.name,
        live=f"/ui/guests/{guest.id}/live",
        guest=guest,
        host=host,
        view=_view(guest.name, (one for one in found if one.guest_id == guest.id)),
        last="" if last is None else repair_sentence(last),
        refusal=refused(guest, host),
    )


def repair_sentence(last: RepairRecord) -> str:
    """What became of a repair that was asked for."""
    asked = f"repair asked for at {moment(last.asked)}"
    if last.result is None:
        return f"{asked}: its agent {'has not answered yet' if last.waits else 'has not answered; look at the agent, or ask again'}"
    words = {RepairResult.DONE: "repaired", RepairResult.NEEDLESS: "there was nothing to move", RepairResult.FAILED: "failed"}
    return f"{asked}: {words[last.result]}: {last.sentence}"


def _view(name: str, found: Iterable[WrittenFinding]) -> PlanView:
    drift = [one for one in found if one.severity is Severity.DRIFT]
    moves = tuple(PlanMove(what=fact(one), before=one.observed or "-", after=one.recorded or "-") for one in drift if one.repair)
    return PlanView(
        steps=(PlanStep(letters="", name=name, moves=moves),) if moves else (),
        gain=("its threads may run only where they should; the agent checks that after the move",) if moves else (),
        cost=("its threads move at once, while the guest runs; nothing is restarted",) if moves else (),
        left=tuple(
            f"{fact(one)}; moving threads does not undo that{': ' + one.advice if one.advice else ''}" for one in drift if not one.repair
        ),
    )
