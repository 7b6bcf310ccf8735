"""Translate a guest's record into the Compute API's status, vm_state, task_state and power_state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.service.guests.lifecycle import REBOOTING, REBOOTING_HARD, RESUMING
from pinfold.store.guest_states import GuestState
from pinfold.store.records import REBUILDING, Desired, GuestRecord, Observed, Pause

_REBOOTS: Final = {REBOOTING: "REBOOT", REBOOTING_HARD: "HARD_REBOOT"}
"""The status of a running guest during a reboot, by its task. Tasks have Nova's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """The four states of a server. `power_state` is Nova's number: 0 unknown, 1 running, 3 paused, 4 shut down, 6 crashed."""

    status: str
    vm_state: str
    task_state: str | None
    power_state: int


_POWER: Final = {Observed.RUNNING: 1, Observed.PAUSED: 3, Observed.STOPPED: 4, Observed.CRASHED: 6}


def server_status(guest: GuestRecord | GuestState, *, host_up: bool) -> ServerStatus:
    """The states of a guest; `host_up` says whether its host sends heartbeats.

    1. Deleted, then in error (its fault, or by an admin's word), regardless of anything else.
    2. REBUILD while its disk is made anew. UNKNOWN on a silent host: the guest may run or not.
    3. BUILD before the first report and during the first boot. Then the state that the agent saw, with the task under way.
    """
    power = _POWER.get(guest.observed, 0)
    task = guest.task or None
    if guest.deleted is not None:
        return ServerStatus(status="DELETED", vm_state="deleted", task_state=None, power_state=0)
    if guest.reset:
        return ServerStatus(status="ERROR", vm_state="error", task_state=task, power_state=power)
    if guest.task == REBUILDING and (guest.host is None or host_up):
        state = "active" if guest.desired is Desired.RUNNING else "stopped"
        return ServerStatus(status="REBUILD", vm_state=state, task_state=task, power_state=power)
    if guest.fault is not None and (guest.rebuild or not (guest.host and guest.observed is Observed.RUNNING)):
        return ServerStatus(status="ERROR", vm_state="error", task_state=task, power_state=power)
    if guest.host is not None and not host_up:
        return ServerStatus(status="UNKNOWN", vm_state="unknown", task_state=task, power_state=0)
    if guest.desired is not Desired.ABSENT and (guest.observed is Observed.UNSEEN or guest.booted == 0):
        return ServerStatus(status="BUILD", vm_state="building", task_state=task, power_state=power)
    if guest.observed is Observed.RUNNING:
        return ServerStatus(status=_REBOOTS.get(guest.task, "ACTIVE"), vm_state="active", task_state=task, power_state=power)
    if guest.observed is Observed.PAUSED and guest.pause is Pause.ON_DISK:  # its memory is being saved
        return ServerStatus(status="ACTIVE", vm_state="active", task_state=task, power_state=power)
    if guest.observed is Observed.PAUSED:
        return ServerStatus(status="PAUSED", vm_state="paused", task_state=task, power_state=power)
    if guest.pause is Pause.ON_DISK or guest.task == RESUMING:
        return ServerStatus(status="SUSPENDED", vm_state="suspended", task_state=task, power_state=power or 4)
    return ServerStatus(status="SHUTOFF", vm_state="stopped", task_state=task, power_state=power or 4)
