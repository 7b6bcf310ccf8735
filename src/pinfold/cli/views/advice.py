"""What advice on the overhead pool looks like on a screen: each number with its evidence."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from pinfold.cli.views.columns import Columns
from pinfold.core.overhead.advice import Advice, Figure
from pinfold.core.overhead.hours import LEAST_HOURS
from pinfold.core.overhead.rates import RateFit
from pinfold.core.overhead.sizing import Sizing
from pinfold.core.plural import count
from pinfold.core.printable import shown

_WORDS = {"guest": "guest_millicpu", "vcpu": "vcpu_millicpu", "disk": "disk_millicpu", "nic": "nic_millicpu"}


def advice_view(sizing: Sizing) -> Iterator[RenderableType]:
    """The pool, the rates, then a line for each flavor."""
    pool = sizing.pool
    yield _evidence(pool)
    if pool.pcpus is None or pool.load is None or pool.busy_allowed is None:
        yield f"pCPUs: no advice: {pool.why}."
    else:
        yield (
            f"pCPUs: {pool.pcpus}. Load: {pool.load.value:.2f} pCPUs ({pool.load.source}). The pool may be busy for "
            f"{pool.busy_allowed.value:.0%} of the time ({pool.busy_allowed.source})."
        )
        yield _booking(pool.pcpus, sizing.booked_pcpus)
    if sizing.dedicated_guests is not None and pool.guests is not None:
        held = sizing.dedicated_guests
        yield f"The host holds {held.value:g} such guests, fewer than the {pool.guests.value:g} that are assumed: {held.source}."
    if pool.rates is None:
        yield f"rates: no advice: {pool.rates_why}."
    else:
        yield from _rates(pool.rates)
    yield from _flavors(sizing)


def _booking(pcpus: int, booked: Figure | None) -> str:
    """What the guests book beside what keeps the delay target, and which of the two numbers counts."""
    if booked is None:
        return "This keeps the delay target. What guests book needs pCPUs too, or Placement refuses guests: take the larger number."
    need = max(pcpus, int(booked.value))
    return (
        f"This keeps the delay target. Guests book {booked.value:g} pCPUs of the pool ({booked.source}), or Placement refuses some. "
        f"Take the larger number: {need}."
    )


def _evidence(pool: Advice) -> str:
    if pool.worst_delay_us is None:
        return f"Evidence: {pool.hours} of {LEAST_HOURS} hours are measured, which is too little. The target is {pool.target_us:,.0f} us."
    return (
        f"Evidence: {count(pool.hours, 'measured hour')}; in the worst one overhead threads waited {pool.worst_delay_us:,.0f} us on "
        f"average before they ran. {pool.missed} missed the target of {pool.target_us:,.0f} us."
    )


def _rates(fit: RateFit) -> Iterator[str]:
    rates = fit.rates
    values = ", ".join(f"{_WORDS[name]} = {getattr(rates, name)}" for name in _WORDS)
    told = ", ".join(_WORDS[name] for name in fit.told) or "none of them"
    yield (
        f"rates: {values}. In each of {count(fit.hours, 'measured hour')} they book at least what guests ran. By differences between "
        f"{count(len(fit.shapes), 'shape')} of guests the evidence tells {told}; the others keep their proportion to each other."
    )
    for one in fit.shapes:
        yield (
            f"  {count(one.vcpus, 'vCPU')}, {count(one.disks, 'disk')}, {count(one.nics, 'NIC')}: ran {one.used_millicpu:.0f} millicpu on "
            f"average in {count(one.hours, 'hour')}, books {one.booked_millicpu}"
        )


def _flavors(sizing: Sizing) -> Iterator[RenderableType]:
    if not sizing.flavors:
        yield "flavors: none with pinned vCPUs; --flavor-json or the flavors file names them."
        return
    host = sizing.host_pcpus
    room = (
        "the guests on a host are not counted, because its pools are not configured"
        if host is None
        else (f"guests on a host of {host.value:g} pCPUs ({host.source}) with that flavor alone")
    )
    yield f"flavors, from {shown(sizing.flavors_from)}; {room}:"
    table = Columns("flavor", "policy", "overhead", "share: pool", "guests", "wait", "isolate: pCPUs", "guests", "wait", "millicpu to book")
    for one in sizing.flavors:
        table.add_row(
            shown(one.name),
            "no advice" if one.policy is None else one.policy.value,
            f"{one.cpu.value:.3f}",
            "?" if one.share_pcpus is None else f"{one.share_pcpus:.3f}",
            _number(one.share_guests),
            _wait(one.share_delay_us),
            f"{one.isolate_pcpus}",
            _number(one.isolate_guests),
            _wait(one.isolate_delay_us),
            f"{one.booked_millicpu}",
        )
    yield table
    costs = sizing.flavors
    yield from _grouped("policy", [(one.name, one.why) for one in costs])
    yield from _grouped("overhead", [(one.name, one.cpu.source) for one in costs])
    yield from _grouped("share wait", [(one.name, one.share_delay_us.source) for one in costs if one.share_delay_us])
    yield from _grouped("isolate wait", [(one.name, one.isolate_delay_us.source) for one in costs if one.isolate_delay_us])


def _grouped(label: str, said: list[tuple[str, str]]) -> Iterator[str]:
    """Each sentence once, with the flavors that it is about, if it is not about all of them."""
    about: dict[str, list[str]] = {}
    for name, sentence in said:
        about.setdefault(sentence, []).append(shown(name))
    for sentence, names in about.items():
        whose = "" if len(about) == 1 else f" of {', '.join(names)}"
        yield f"{label}{whose}: {sentence}."


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _wait(figure: Figure | None) -> str:
    return "?" if figure is None else f"{figure.value:,.0f} us"
