"""What a guest's record is called in the Compute API: status, vm_state, task_state, power_state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.scheduler.lifecycle import REBOOTING, REBOOTING_HARD
from pinfold.store.records import Desired, GuestRecord, Observed

_REBOOTS: Final = {REBOOTING: "REBOOT", REBOOTING_HARD: "HARD_REBOOT"}
"""The status of a running guest that is being rebooted, by its task. Tasks have Nova's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The four words of a server. `power_state` is Nova's number: 0 nothing known, 1 running, 3 paused, 4 shut down, 6 crashed."""

    status: str
    vm_state: str
    task_state: str | None
    power_state: int


_POWER: Final = {Observed.RUNNING: 1, Observed.PAUSED: 3, Observed.STOPPED: 4, Observed.CRASHED: 6}


def shown(guest: GuestRecord, *, host_up: bool) -> Shown:
    """The words for a guest; `host_up` is whether the host it is on speaks.

    1. Deleted, then in error: whatever else holds.
    2. A host that is silent makes its guests UNKNOWN: they may run or not, and nobody may say that they do.
    3. Not seen yet, or on its first boot: BUILD. Then what the agent saw, with what is under way.
    """
    power = _POWER.get(guest.observed, 0)
    task = guest.task or None
    if guest.deleted is not None:
        return Shown(status="DELETED", vm_state="deleted", task_state=None, power_state=0)
    if guest.fault is not None and not (guest.host and guest.observed is Observed.RUNNING):
        return Shown(status="ERROR", vm_state="error", task_state=task, power_state=power)
    if guest.host is not None and not host_up:
        return Shown(status="UNKNOWN", vm_state="unknown", task_state=task, power_state=0)
    if guest.desired is not Desired.ABSENT and (guest.observed is Observed.UNSEEN or guest.booted == 0):
        return Shown(status="BUILD", vm_state="building", task_state=task, power_state=power)
    if guest.observed is Observed.RUNNING:
        return Shown(status=_REBOOTS.get(guest.task, "ACTIVE"), vm_state="active", task_state=task, power_state=power)
    if guest.observed is Observed.PAUSED:
        return Shown(status="PAUSED", vm_state="paused", task_state=task, power_state=power)
    return Shown(status="SHUTOFF", vm_state="stopped", task_state=task, power_state=power or 4)
