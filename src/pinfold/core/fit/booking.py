"""What a guest books of the overhead pool: when it is placed, and again after the options have changed."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.fit.count import Frame, count_host
from pinfold.core.fit.model import EmulatorPlacement, Fit, NoFit
from pinfold.core.host import HostState
from pinfold.core.overhead import booked_millicpu
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest


def booking(request: GuestRequest, frame: Frame, room: int) -> tuple[int, Reason | None]:
    """The millicpu that a guest books of the overhead pool, and a refusal or warning if that is more than `room`."""
    if not frame.books:
        return 0, None
    millicpu = booked_millicpu(request, frame.rates)
    if millicpu <= room:
        return millicpu, None
    kind = Kind.INFEASIBLE if millicpu > frame.overhead_cap else Kind.INSUFFICIENT
    return millicpu, Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=kind, needed=millicpu, available=room)


def rebooked(fit: Fit, request: GuestRequest, state: HostState) -> Fit | NoFit:
    """The same placement with its booking under the current options, or why the pool has no room for it. Pure.

    `state` has the fit as a claim. With `booking=report` the answer is always a fit, with a warning if the pool is overbooked.
    """
    if fit.emulator_placement is not EmulatorPlacement.POOL:
        return fit
    counts = count_host(state)
    frame = counts.frame
    millicpu, lacking = booking(request, frame, counts.overhead_room + fit.overhead_millicpu)
    if lacking is not None and frame.enforces and millicpu > fit.overhead_millicpu:
        return NoFit(reasons=(lacking,))
    return replace(fit, overhead_millicpu=millicpu, warnings=() if lacking is None else (lacking,))
