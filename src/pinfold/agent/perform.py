"""`Performer`: one action of an agent, carried out on its host. When and why does not belong here."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pinfold.agent.client import ServiceClient
from pinfold.agent.images import boot_of, forget_serial_log
from pinfold.agent.reconcile import Act, Action
from pinfold.agent.wire import GuestOrder
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation
from pinfold.core.fit.model import NoFit
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, Record
from pinfold.faultpoints import fault_point
from pinfold.host import disk
from pinfold.host.start import NotPlaced, StartOrder, finish, restart, start
from pinfold.host.stop import stop

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an action: `gone` when nothing of the guest remains, with `failure` where it should have run; `booted` when it runs."""

    gone: bool = False
    booted: bool = False
    failure: str = ""


class Performer:
    """Carries out actions. Every method raises `Unavailable` when the hypervisor or the service is away: then nothing is known."""

    def __init__(self, driver: Driver, settings: HostSettings, service: ServiceClient, owner: str) -> None:
        self._driver = driver
        self._settings = settings
        self._service = service
        self._owner = owner

    def perform(self, action: Action, order: GuestOrder | None) -> Outcome:
        """Carry out one action; `order` is the service's order for the guest, None where it only has to go."""
        guest = action.guest
        match action.act:
            case Act.START if order is not None:
                return self._start(order)
            case Act.RESTART | Act.FINISH | Act.REBOOT:
                return self._boot(action.act, guest)
            case Act.STOP:
                stop(self._driver, self._settings, guest, agent=self._owner)
                return Outcome()
            case Act.REMOVE | Act.CONFIRM_ABSENT:
                fault_point("agent.remove")
                self._remove(guest)
                return Outcome(gone=True)
            case Act.REFUSE_STALE:
                self._remove(guest)
                return Outcome(gone=True, failure="the order is older than the guest's removal from this host")
            case _:
                return Outcome()

    def _start(self, order: GuestOrder) -> Outcome:
        record = Record(
            guest=order.guest,
            policy=order.request.emulator_policy,
            fit=order.fit,
            revision=order.revision,
            flavor=order.flavor,
            owner=self._owner,
        )
        fault_point("agent.start")
        try:
            asked = StartOrder(
                id=order.guest,
                name=f"instance-{order.guest}",
                request=order.request,
                flavor=order.flavor,
                boot=boot_of(self._settings, self._service, order.image, order.guest),
            )
            outcome = start(self._driver, self._settings, asked, claimed=record)
        except (InvalidRequest, Conflict, NotPlaced, InvariantViolation) as error:
            _log.warning("guest %s was not started: %s", order.guest, error)
            self._remove(order.guest)
            return Outcome(gone=True, failure=str(error))
        if isinstance(outcome, NoFit):
            raise InvariantViolation(f"guest {order.guest}: a claimed start was fitted again")
        return Outcome(booted=True)

    def _boot(self, act: Act, guest: str) -> Outcome:
        try:
            if act is Act.FINISH:
                finish(self._driver, self._settings, guest, agent=self._owner)
            else:
                if act is Act.REBOOT:
                    stop(self._driver, self._settings, guest, agent=self._owner)
                restart(self._driver, self._settings, guest, agent=self._owner)
        except (InvalidRequest, Conflict, NotPlaced) as error:
            # It is off, with its claim and its disk; the service sees that, and the log says why. One that could not be verified may
            # not stay paused either: its threads are where nobody recorded them.
            _log.error("guest %s does not run: %s", guest, error)
            if any(found.id == guest and found.active for found in self._driver.guests()):
                stop(self._driver, self._settings, guest, agent=self._owner)
        return Outcome(booted=True)

    def _remove(self, guest: str) -> None:
        """Nothing of the guest remains when this returns; a guest that is not there is no error."""
        if any(found.id == guest and found.record is not None and found.record.owner == self._owner for found in self._driver.guests()):
            stop(self._driver, self._settings, guest, remove=True, agent=self._owner)
        disk.remove(self._settings, guest)
        forget_serial_log(self._settings, guest)
