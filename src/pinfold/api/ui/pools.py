"""The page of a change of pools: which guests would move, what would fit, and for an admin the form that orders it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.ui.render import render
from pinfold.api.v1.capacity import MOST_FLAVORS, stored_flavors
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.host import HostState
from pinfold.core.overhead import capacity_millicpu, masks
from pinfold.core.plural import count, pcpus
from pinfold.core.pools import PoolOrder, Pools
from pinfold.core.repin.gain import gain
from pinfold.core.repin.plan import Repin
from pinfold.drawing.plan import PlanMove, PlanRow, PlanStep, PlanView
from pinfold.drawing.tiles import guest_letters, in_order
from pinfold.service.claims.pool_plan import Following, PoolPlan, plan
from pinfold.store import hosts
from pinfold.store.records import POOLS_REFUSED, HostRecord

NAMES = ("shared", "dedicated", "overhead")


def pools_page(services: ApiServices, caller: Caller, host: HostRecord, asked: Mapping[str, str]) -> str:
    """The form for other pools, and with `asked` what they would mean. Raises `ApiError` 403 for a reader."""
    if not caller.admin:
        raise ApiError(403, f"The account {caller.name} may read only.")
    with services.database.read() as connection:
        ordered = hosts.pool_order(connection, host.id)
    found, problem = None, ""
    if asked:
        known, _ = stored_flavors(services, (), MOST_FLAVORS)
        try:
            found = plan(services.database, host.id, order_of(asked), known)
        except (InvalidRequest, Conflict) as error:
            problem = str(error)
    used = host.report.pools
    now = {name: str(getattr(used, name) or "") for name in NAMES}
    return render(
        "pools.html",
        account=caller.name,
        live="",
        host=host if found is None else found.host,
        fields={name: asked.get(name, "") for name in NAMES} if asked else now,
        used=now,
        ordered=ordered is not None,
        waits="" if ordered is None or _same(ordered, used) else "The agent does not use the ordered pools yet.",
        refused=dict(host.report.facts).get(POOLS_REFUSED, ""),
        planned=found is not None,
        problem=problem,
        view=PlanView() if found is None else _view(found),
    )


def order_of(asked: Mapping[str, str]) -> PoolOrder:
    """The pools of a form; an empty field is no such pool. Raises `InvalidRequest`."""
    sets = {name: CpuSet.parse(asked[name]) if asked.get(name, "").strip() else None for name in NAMES}
    return PoolOrder(shared=sets["shared"], dedicated=sets["dedicated"], overhead=sets["overhead"])


def order(services: ApiServices, host: HostRecord, asked: Mapping[str, str]) -> None:
    """Order the pools of a form. Raises `InvalidRequest`, and `Conflict` if the host has changed since the plan was shown."""
    if asked.get("revision") != str(host.revision):
        raise Conflict(f"host {host.name} is at revision {host.revision} by now; look at the plan anew")
    services.fleet.hosts.order_pools(host.id, order_of(asked))


def _same(ordered: PoolOrder, used: Pools) -> bool:
    return (ordered.shared or CpuSet(), ordered.dedicated or CpuSet()) == (used.shared, used.dedicated)


def _view(found: PoolPlan) -> PlanView:
    letters = guest_letters((one.guest, one.name, True) for one in found.guests)
    moved = sorted((one for one in found.guests if one.before != one.after), key=lambda one: in_order(letters[one.guest]))
    before, after = found.before.pools, found.after.pools
    touched = [cpu for cpu in sorted(_all(before) | _all(after)) if _letters(cpu, before) != _letters(cpu, after)]
    return PlanView(
        steps=tuple(PlanStep(letters=letters[one.guest], name=one.name, moves=tuple(_moves(one))) for one in moved),
        pcpus=tuple(touched),
        rows=_rows(touched, before, after),
        gain=tuple(_gains(found, more=True)),
        cost=(*_gains(found, more=False), *_costs(found)),
        left=(
            *(f"guest {one.name} does not follow: {one.why}" for one in found.guests if one.why),
            *(
                f"guest {one.name} keeps {pcpus(str(one.retiring))}, retiring, until it ends or is placed again"
                for one in found.guests
                if one.retiring
            ),
            *found.warnings,
        ),
    )


def _moves(one: Following) -> Iterator[PlanMove]:
    before, after = masks(one.before), masks(one.after)
    for vcpu, (old, new) in enumerate(zip(before.vcpus, after.vcpus, strict=True)):
        if old != new:
            yield PlanMove(what=f"vCPU {vcpu}", before=str(old), after=str(new))
    if before.overhead != after.overhead:
        yield PlanMove(what="emulator threads", before=str(before.overhead), after=str(after.overhead))


def _rows(touched: list[int], before: Pools, after: Pools) -> tuple[PlanRow, ...]:
    """The pools of these pCPUs, in the letters of the map, now and then."""
    if not touched:
        return ()
    now = tuple((_letters(cpu, before), False) for cpu in touched)
    return PlanRow(label="now", cells=now), PlanRow(label="then", cells=tuple((_letters(cpu, after), True) for cpu in touched))


def _all(pools: Pools) -> CpuSet:
    return pools.shared | pools.dedicated | (pools.overhead or CpuSet())


def _letters(cpu: int, pools: Pools) -> str:
    found = "D" * (cpu in pools.dedicated) + "S" * (cpu in pools.shared) + "O" * (cpu in (pools.overhead or CpuSet()))
    return found or "-"


def _gains(found: PoolPlan, *, more: bool) -> Iterator[str]:
    for name, old, new in _sizes(found.before, found.after):
        if old != new and (new > old) is more:
            yield f"{name}: {old:,} now, {new:,} then"
    yield from gain(Repin(slots=tuple(one for one in found.slots if one.before != one.after and (one.after > one.before) is more)))


def _sizes(before: HostState, after: HostState) -> Iterator[tuple[str, int, int]]:
    for name in ("shared", "dedicated"):
        yield f"pCPUs in the {name} pool", len(getattr(before.pools, name)), len(getattr(after.pools, name))
    millicpu = [capacity_millicpu(state.pools, state.limits) for state in (before, after)]
    yield "ceiling of the overhead pool in millicpu", millicpu[0], millicpu[1]


def _costs(found: PoolPlan) -> Iterator[str]:
    moved = sum(one.before != one.after for one in found.guests)
    if moved:
        yield f"threads of {count(moved, 'running guest')} move, without a restart"
    yield "the agent keeps the pools in its configuration; later guests are placed by them"
