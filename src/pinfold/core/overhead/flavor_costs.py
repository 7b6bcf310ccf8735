"""What `share` and `isolate` cost for each flavor: in pCPUs, in guests that a host bears, and in waiting where that is known. Pure.

1. The overhead threads of a guest ran so many pCPUs: as assumed, as measured for guests of this shape, as the fitted rates say, as the mean
   of all guests, or else as the rates of `[overhead]` say, which are estimates.
2. With `share` the guest takes that, over how busy the pool may be, of the pool. With `isolate` it takes one dedicated pCPU.
3. A host is filled with guests of that flavor alone, its pCPUs divided between guests and pool as they need it. Floating vCPUs, cells,
   siblings and memory are left out; `pinfold host capacity` counts those.
4. `isolate` is the advice if `share` takes a whole pCPU, or if no hour on the pool kept the target. Otherwise it is `share`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.advice import BENCHMARK_PAGE, BY_RATES, Advice, Evidence, Figure
from pinfold.core.overhead.assumption import Assumptions, benchmark_delay
from pinfold.core.overhead.hours import LEAST_HOURS, Place, Shape, ShapeHour
from pinfold.core.overhead.pool import booked_millicpu
from pinfold.core.overhead.rates import usage
from pinfold.core.plural import count
from pinfold.core.request.model import EmulatorPolicy, GuestRequest


class FlavorShape(Struct, frozen=True, kw_only=True):
    """A flavor, as far as its overhead is concerned. `nics` counts the queues of its network interfaces, as shapes and bookings do.
    `floating` of its vCPUs take no pCPU of their own.
    """

    name: str
    vcpus: int
    disks: int
    nics: int
    floating: int = 0

    @property
    def pinned(self) -> int:
        """How many of its vCPUs take a pCPU each."""
        return self.vcpus - self.floating

    @property
    def shape(self) -> Shape:
        """The shape of its guests."""
        return (self.vcpus, self.disks, self.nics)


class FlavorCosts(Struct, frozen=True, kw_only=True):
    """What one flavor costs. `booked_millicpu` is its `CUSTOM_OVERHEAD_MILLICPU` by the advised rates, or by those of today without any.

    `pinned` of its vCPUs take a pCPU each. The other pCPUs are those that one guest's overhead takes. The guests are those that one host
    bears, None without pools. A delay is the mean wait before a slice, None without evidence. `nics` counts queues. `policy` is None, and
    `why` says why, where there is no advice.
    """

    name: str
    vcpus: int
    pinned: int
    disks: int
    nics: int
    cpu: Figure
    booked_millicpu: int
    share_pcpus: float | None = None
    share_guests: int | None = None
    share_delay_us: Figure | None = None
    isolate_pcpus: int = 1
    isolate_guests: int | None = None
    isolate_delay_us: Figure | None = None
    policy: EmulatorPolicy | None = None
    why: str = ""


def flavor_costs(
    flavors: Sequence[FlavorShape],
    advice: Advice,
    hours: Sequence[ShapeHour],
    rates: OverheadRates,
    pcpus: int | None,
    assumed: Assumptions,
) -> tuple[FlavorCosts, ...]:
    """The costs of each flavor, in the given order. `rates` are those of today, `pcpus` those of the host for guests and their overhead."""
    used, delays = usage(hours), {place: _delays(hours, place) for place in Place}
    return tuple(_costs(one, advice, used, delays, rates, pcpus, assumed) for one in flavors)


def seen_shapes(hours: Sequence[ShapeHour]) -> tuple[FlavorShape, ...]:
    """The shapes of guests that were measured, named by what they have."""
    return tuple(of_shape(shape) for shape in sorted({hour.shape for hour in hours}))


def of_shape(shape: Shape) -> FlavorShape:
    """A flavor of that shape, named by what its guests have."""
    vcpus, disks, nics = shape
    return FlavorShape(name=f"{count(vcpus, 'vCPU')}, {count(disks, 'disk')}, {count(nics, 'NIC')}", vcpus=vcpus, disks=disks, nics=nics)


def _costs(
    flavor: FlavorShape,
    advice: Advice,
    used: dict[Shape, tuple[int, float]],
    delays: dict[Place, dict[Shape, Figure]],
    rates: OverheadRates,
    pcpus: int | None,
    assumed: Assumptions,
) -> FlavorCosts:
    booked = _booked(flavor, advice.rates.rates if advice.rates else rates)
    cpu = _cpu(flavor, advice, used, booked, assumed)
    busy = advice.busy_allowed
    share = None if busy is None else cpu.value / busy.value
    policy, why = _policy(share, advice)
    return FlavorCosts(
        name=flavor.name,
        vcpus=flavor.vcpus,
        pinned=flavor.pinned,
        disks=flavor.disks,
        nics=flavor.nics,
        cpu=cpu,
        booked_millicpu=booked,
        share_pcpus=share,
        share_guests=None if share is None or pcpus is None else shared_guests(pcpus, flavor.pinned, share),
        share_delay_us=delays[Place.POOL].get(flavor.shape) or (None if busy is None else _by_benchmark(busy.value, "a pool as busy")),
        isolate_guests=None if pcpus is None else pcpus // (flavor.pinned + 1),
        isolate_delay_us=delays[Place.OWN].get(flavor.shape) or _by_benchmark(cpu.value, "a pCPU that one guest keeps as busy"),
        policy=policy,
        why=why,
    )


def shared_guests(pcpus: int, pinned: int, share: float) -> int:
    """How many guests fit on so many pCPUs, if each takes one for each of its pinned vCPUs, and `share` pCPUs of a pool of whole pCPUs.

    >>> shared_guests(64, 4, 0.1), shared_guests(4, 4, 0.1), shared_guests(5, 4, 0.1)
    (15, 0, 1)
    """
    guests = int(pcpus / (pinned + share))
    while guests and guests * pinned + max(1, math.ceil(guests * share - 1e-9)) > pcpus:
        guests -= 1
    return guests


def _booked(flavor: FlavorShape, rates: OverheadRates) -> int:
    return booked_millicpu(GuestRequest(vcpus=flavor.vcpus, memory_mib=1, disks=flavor.disks, nics=flavor.nics), rates)


def _cpu(flavor: FlavorShape, advice: Advice, used: dict[Shape, tuple[int, float]], booked: int, assumed: Assumptions) -> Figure:
    if assumed.cpu_per_guest is not None:
        return Figure(value=assumed.cpu_per_guest, evidence=Evidence.ASSUMED, source="assumed")
    if flavor.shape in used:
        hours, millicpu = used[flavor.shape]
        source = f"measured: the mean of guests of this shape in {count(hours, 'hour')}"
        return Figure(value=millicpu / 1000, evidence=Evidence.MEASURED, source=source)
    if advice.rates is not None:
        source = f"by the rates that match the guests of {count(advice.rates.hours, 'measured hour')}"
        return Figure(value=booked / 1000, evidence=Evidence.MEASURED, source=source)
    if advice.guest_cpu is not None:
        return advice.guest_cpu
    return Figure(value=booked / 1000, evidence=Evidence.CONFIGURED, source=BY_RATES)


def _policy(share: float | None, advice: Advice) -> tuple[EmulatorPolicy | None, str]:
    if share is None:
        if advice.missed:
            return EmulatorPolicy.ISOLATE, "no busy hour of the pool kept the target"
        return None, "how busy the pool may be is not known; assume busy"
    if share >= 1:
        return EmulatorPolicy.ISOLATE, "with share it takes a pCPU of the pool or more"
    return EmulatorPolicy.SHARE, f"one pCPU of the pool is enough for {int(1 / share + 1e-9) if share else 'any number of'} such guests"


def _delays(hours: Sequence[ShapeHour], place: Place) -> dict[Shape, Figure]:
    """The mean wait of each shape in `LEAST_HOURS` hours or more."""
    found = {}
    ordered = sorted((hour for hour in hours if hour.place is place), key=lambda hour: hour.shape)
    for shape, group in groupby(ordered, key=lambda hour: hour.shape):
        mine = list(group)
        counted, slices = len({hour.begins for hour in mine}), sum(hour.slices for hour in mine)
        if counted >= LEAST_HOURS and slices:
            source = f"measured: the mean of guests of this shape in {count(counted, 'hour')}"
            value = sum(hour.wait_ns for hour in mine) / 1000 / slices
            found[shape] = Figure(value=value, evidence=Evidence.MEASURED, source=source)
    return found


def _by_benchmark(busy: float, what: str) -> Figure | None:
    delay = benchmark_delay(busy)
    source = f"default from {BENCHMARK_PAGE}: at most that on {what}"
    return None if delay is None else Figure(value=delay, evidence=Evidence.BENCHMARK, source=source)
