"""`Performer`: one action of an agent, carried out on its host. When and why does not belong here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.agent.images import boot_of
from pinfold.agent.reconcile import Act, Action
from pinfold.agent.wire import GuestOrder, told_failure
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, PinfoldError
from pinfold.core.fit.model import NoFit
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, GuestState, HostGuest, Record
from pinfold.faultpoints import fault_point
from pinfold.host import disk, serial
from pinfold.host.start import NotPlaced, StartOrder, finish, restart, start
from pinfold.host.stop import shut_down, stop

_log = logging.getLogger(__name__)


_FAILED: Final = (InvalidRequest, Conflict, NotPlaced, InvariantViolation)
"""What a start that failed raises; everything else is a hypervisor or service that is away, and nothing is known then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an action: `gone` when nothing of the guest remains, `booted` when its boot was carried out; each with the `failure`
    where it does not run after all.
    """

    gone: bool = False
    booted: bool = False
    failure: str = ""


class Performer:
    """Carries out actions. Every method raises `Unavailable` when the hypervisor or the service is away: then nothing is known.

    The disk of a guest that ran is deleted where the guest is to be absent, and nowhere else.
    """

    def __init__(self, driver: Driver, settings: HostSettings, service: ServiceClient, owner: str) -> None:
        self._driver = driver
        self._settings = settings
        self._service = service
        self._owner = owner

    def perform(self, action: Action, order: GuestOrder | None, *, ran: bool = False) -> Outcome:
        """Carry out one action; `order` is the service's order for the guest, None where it only has to go.

        `ran` says that the agent remembers a boot of the guest; the order may be from before that.
        """
        guest = action.guest
        match action.act:
            case Act.START if order is not None:
                return self._start(order, ran)
            case Act.RESTART | Act.FINISH | Act.REBOOT if order is not None:
                return self._boot(action.act, order, ran)
            case Act.SHUT_DOWN:
                shut_down(self._driver, self._settings, guest, agent=self._owner)
                return Outcome()
            case Act.STOP:
                stop(self._driver, self._settings, guest, agent=self._owner)
                return Outcome()
            case Act.UNDEFINE:
                self._undefine(guest)
                return Outcome()
            case Act.REMOVE | Act.CONFIRM_ABSENT:
                fault_point("agent.remove")
                self._undefine(guest)
                self._delete_files(guest)
                return Outcome(gone=True)
            case Act.REFUSE_STALE:
                self._withdraw(guest)
                return Outcome(gone=True, failure="the order is older than the guest's removal from this host")
            case _:
                return Outcome()

    def _start(self, order: GuestOrder, ran: bool) -> Outcome:
        record = Record(
            guest=order.guest,
            policy=order.request.emulator_policy,
            fit=order.fit,
            revision=order.revision,
            flavor=order.flavor,
            owner=self._owner,
            request=order.request,
        )
        fault_point("agent.start")
        try:
            asked = StartOrder(
                id=order.guest,
                name=f"instance-{order.guest}",
                request=order.request,
                flavor=order.flavor,
                boot=boot_of(self._settings, self._service, order.image, order.guest),
                again=ran or order.booted > 0,
            )
            outcome = start(self._driver, self._settings, asked, claimed=record)
        except _FAILED as error:
            return self._failed(order, error, ran)
        if isinstance(outcome, NoFit):
            raise InvariantViolation(f"guest {order.guest}: a claimed start was fitted again")
        return Outcome(booted=True)

    def _boot(self, act: Act, order: GuestOrder, ran: bool) -> Outcome:
        guest = order.guest
        try:
            if act is Act.FINISH:
                finish(self._driver, self._settings, guest, agent=self._owner)
            else:
                if act is Act.REBOOT:
                    stop(self._driver, self._settings, guest, agent=self._owner)
                restart(self._driver, self._settings, guest, agent=self._owner)
        except _FAILED as error:
            return self._failed(order, error, ran)
        return Outcome(booted=True)

    def _failed(self, order: GuestOrder, error: PinfoldError, ran: bool) -> Outcome:
        """A guest that never ran is taken away, for the service to try it elsewhere. One that ran stays, with its disk, for its user."""
        guest, failure = order.guest, told_failure(str(error))
        _log.error("guest %s does not run: %s", guest, error)
        if not ran and not order.booted and not disk.has_run(self._settings, guest):
            self._withdraw(guest)
            return Outcome(gone=True, failure=failure)
        found = self._found(guest)
        if found is not None and found.state is GuestState.PAUSED:
            # One that could not be verified may not stay paused either: its threads are where nobody recorded them.
            stop(self._driver, self._settings, guest, agent=self._owner)
        return Outcome(booted=True, failure=failure)

    def _withdraw(self, guest: str) -> None:
        """No definition of the guest remains, and none of its files unless it ran."""
        self._undefine(guest)
        if not disk.has_run(self._settings, guest):
            self._delete_files(guest)

    def _undefine(self, guest: str) -> None:
        """Neither process nor definition of the guest remains; one that is not there is no error."""
        found = self._found(guest)
        if found is None:
            return
        if found.record is None or found.record.owner != self._owner:
            raise Conflict(f"guest {guest} is defined on this host, but not as a guest of {self._owner}; it is not touched")
        stop(self._driver, self._settings, guest, remove=True, keep_disk=True, agent=self._owner)

    def _delete_files(self, guest: str) -> None:
        disk.remove(self._settings, guest)
        serial.forget(self._settings, guest)

    def _found(self, guest: str) -> HostGuest | None:
        return next((found for found in self._driver.guests() if found.id == guest), None)
