"""`Performer`: perform one task of the agent on its host. `reconcile` decides which task and why."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pinfold.agent.client import ServiceClient
from pinfold.agent.config_drive import fetched_drive
from pinfold.agent.events import Outcome
from pinfold.agent.images import boot_of
from pinfold.agent.interfaces import interfaces_of
from pinfold.agent.reconcile import Act, Task, lacking, leaving
from pinfold.agent.wire import GuestOrder, InterfaceFailure, shorten_failure
from pinfold.core.adoption import Takeover
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, PinfoldError
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, Driver, GuestSpec, GuestState, HostGuest, Record
from pinfold.faultpoints import fault_point
from pinfold.host import boot_marks, disk, new_disk, serial, templates
from pinfold.host.adopt import NotAdopted, adopt_as, give_back
from pinfold.host.amend import NotMoved, amend
from pinfold.host.boot_marks import BootMark
from pinfold.host.interfaces import attach, detach
from pinfold.host.start import NotPlaced, define, finish, restart, start
from pinfold.host.stop import pause, save, shut_down, stop
from pinfold.store.records import Desired, Tombstone

_log = logging.getLogger(__name__)


_FAILED: Final = (InvalidRequest, Conflict, NotPlaced, InvariantViolation)
"""What a failed start raises. Every other exception means that the hypervisor or the service is away, and the outcome is unknown."""


class Performer:
    """Performs tasks. Every method raises `Unavailable` when the hypervisor or the service is away; the outcome is then unknown.

    It deletes the disk of a guest that ran only when the service wants the guest absent.
    """

    def __init__(
        self, driver: Driver, settings: HostSettings, service: ServiceClient, owner: str, *, shutdown_seconds: float = 0.0
    ) -> None:
        """`shutdown_seconds` is how long a guest may take to shut down before its disk is made anew."""
        self._shutdown_seconds = shutdown_seconds
        self._driver = driver
        self._settings = settings
        self._service = service
        self._owner = owner

    def perform(self, task: Task, *, ran: bool = False, known: str = "") -> Outcome:
        """Perform one task. `ran` says that the agent remembers a boot of the guest; the order may be older than that boot. The failure
        `known` is not logged again.
        """
        guest, order = task.guest, task.order
        match task.act:
            case Act.START if isinstance(order, GuestOrder):
                return self._start(order, ran)
            case Act.RESTART | Act.FINISH | Act.REBOOT if isinstance(order, GuestOrder):
                return self._boot(task.act, order, ran, known)
            case Act.REBUILD if isinstance(order, GuestOrder):
                return self._rebuild(order)
            case Act.SHUT_DOWN:
                return self._shut_down(order)
            case Act.STOP:
                stop(self._driver, self._settings, guest, agent=self._owner)
                return Outcome()
            case Act.PAUSE | Act.SUSPEND:
                return self._pause(guest, on_disk=task.act is Act.SUSPEND)
            case Act.AMEND | Act.CHANGE_INTERFACES if isinstance(order, GuestOrder):
                return self._amend(order) if task.act is Act.AMEND else self._change_interfaces(order)
            case Act.ADOPT if isinstance(order, GuestOrder):
                return self._adopt(order)
            case Act.RELEASE:
                self._give_back(guest)
                return Outcome()
            case Act.CONFIRM_ABSENT if _was_there_before(order):
                return Outcome(gone=True)  # a domain without our record is not ours
            case Act.UNDEFINE:
                self._undefine(guest)
                return Outcome()
            case Act.REMOVE | Act.CONFIRM_ABSENT:
                fault_point("agent.remove")
                self._undefine(guest)
                self._delete_files(guest)
                return Outcome(gone=True)
            case Act.REFUSE_STALE:
                (self._give_back if _was_there_before(order) else self._withdraw)(guest)
                return Outcome(gone=True, failure="the order is older than the guest's removal from this host")
            case _:
                raise InvariantViolation(f"{task.act.value} of guest {guest} needs the service's order")

    def _record(self, order: GuestOrder) -> Record:
        return Record(
            guest=order.guest,
            policy=order.request.emulator_policy,
            fit=order.claim.fit,
            claim=order.claim.id,
            revision=order.claim.revision,
            flavor=order.flavor,
            owner=self._owner,
            request=order.request,
            server=order.name,
        )

    def _amend(self, order: GuestOrder) -> Outcome:
        try:
            amend(self._driver, self._settings, self._record(order), agent=self._owner)
        except NotMoved as error:
            return Outcome(failure=shorten_failure(str(error)))
        return Outcome()

    def _change_interfaces(self, order: GuestOrder) -> Outcome:
        """Attach and detach what the guest, as it is now, lacks and has of the order. One that fails does not keep the others from it."""
        found = self._found(order.guest)
        if found is None:
            return Outcome()
        failures: list[InterfaceFailure] = []
        for mac in leaving(order, found.macs_anywhere):
            with self._keeping(failures, mac):
                fault_point("agent.detach")
                detach(self._driver, self._settings, order.guest, mac, agent=self._owner)
                fault_point("agent.detached")
        for port in lacking(order, found.macs_everywhere):
            with self._keeping(failures, port.mac):
                (interface,) = interfaces_of((port,), self._settings.networks, order.request.queues)
                fault_point("agent.attach")
                attach(self._driver, self._settings, order.guest, interface, agent=self._owner)
                fault_point("agent.attached")
        return Outcome(interfaces=tuple(failures))

    @contextmanager
    def _keeping(self, failures: list[InterfaceFailure], mac: str) -> Iterator[None]:
        try:
            yield
        except _FAILED as error:
            failures.append(InterfaceFailure(mac=mac, why=shorten_failure(str(error))))

    def _adopt(self, order: GuestOrder) -> Outcome:
        fault_point("agent.start")
        try:
            adopt_as(self._driver, self._settings, self._record(order), active=order.desired is Desired.RUNNING, agent=self._owner)
        except (*_FAILED, NotAdopted) as error:
            _log.error("guest %s is not adopted: %s", order.guest, error)
            return Outcome(gone=True, failure=shorten_failure(str(error)))
        return Outcome(booted=True)

    def _give_back(self, guest: GuestId) -> None:
        """Remove our record from a domain that is not ours to end. One without it is no error."""
        found = self._found(guest)
        if found is not None and found.record is not None and found.record.owner == self._owner:
            give_back(self._driver, self._settings, guest, agent=self._owner)

    def _start(self, order: GuestOrder, ran: bool) -> Outcome:
        if self._needs_new_disk(order):
            return self._rebuild(order)
        fault_point("agent.start")
        again = ran or order.booted > 0
        try:
            spec = self._spec(order)
            drive = fetched_drive(self._service, order) if order.config_drive and not again else None
            start(self._driver, self._settings, spec, again=again, drive=drive)
        except _FAILED as error:
            return self._failed(order, error, ran)
        return Outcome(booted=True)

    def _spec(self, order: GuestOrder) -> GuestSpec:
        template = self._template(order)
        boot = Boot() if template else boot_of(self._settings, self._service, order.image, order.guest)
        if order.config_drive:
            boot = replace(boot, config_drive=str(disk.drive_path(self._settings, order.guest)))
        return GuestSpec(
            name=f"instance-{order.guest}",
            request=order.request,
            record=self._record(order),
            boot=boot,
            template=template,
            interfaces=interfaces_of(order.ports, self._settings.networks, order.request.queues),
        )

    def _needs_new_disk(self, order: GuestOrder) -> bool:
        return order.takeover is Takeover.NONE and order.rebuild > new_disk.boot_of(self._settings, order.guest)

    def _rebuild(self, order: GuestOrder) -> Outcome:
        """Make the guest's disk, config drive and definition anew. Until the new disk is there, the guest is as it was, also when that
        fails. What an agent that died has done of it is not done again once the guest may have run from the new disk.
        """
        guest, found = order.guest, self._found(order.guest)
        fault_point("agent.rebuild")
        try:
            spec = self._spec(order)
            if self._needs_new_disk(order):
                self._make_disk(order, spec.boot)
                fault_point("rebuild.made")
                if found is not None:
                    patience = self._shutdown_seconds if found.state is GuestState.RUNNING and not order.hard else 0.0
                    stop(self._driver, self._settings, guest, graceful_seconds=patience, agent=self._owner)
                fault_point("rebuild.stopped")
                new_disk.take(self._settings, guest, order.rebuild)
                serial.forget(self._settings, guest)
                fault_point("rebuild.taken")
            elif found is not None and found.state is GuestState.RUNNING:
                return Outcome(booted=True)
            self._undefine(guest)
            if order.desired is Desired.RUNNING:
                start(self._driver, self._settings, spec, again=True)
            else:
                define(self._driver, self._settings, spec)
        except _FAILED as error:
            return self._failed(order, error, ran=True)
        return Outcome(booted=True)

    def _make_disk(self, order: GuestOrder, boot: Boot) -> None:
        before = disk.drive_path(self._settings, order.guest)
        drive = fetched_drive(self._service, order, before if before.is_file() else None) if order.config_drive else None
        new_disk.make(self._settings, order.guest, boot, order.request.disk_gib, drive)

    def _template(self, order: GuestOrder) -> str:
        """The text of the template that the order names, '' for none."""
        name = order.request.wants.template
        return templates.read(Path(self._settings.templates_dir), name) if name else ""

    def _boot(self, act: Act, order: GuestOrder, ran: bool, known: str) -> Outcome:
        if self._needs_new_disk(order):
            return self._rebuild(order)
        guest, keep = order.guest, act is Act.FINISH and (ran or order.booted >= order.boot)
        try:
            found = self._found(guest) if act is Act.REBOOT and self._took_up_memory(order) else None
            if found is not None and found.state is GuestState.RUNNING:
                return Outcome(booted=True)
            if found is not None and found.state is GuestState.PAUSED:
                act = Act.FINISH
            if act is Act.FINISH:
                finish(self._driver, self._settings, guest, agent=self._owner)
            else:
                if act is Act.REBOOT:
                    stop(self._driver, self._settings, guest, agent=self._owner)
                restart(self._driver, self._settings, guest, agent=self._owner, fresh=order.hard, boot=order.boot)
        except _FAILED as error:
            return self._failed(order, error, ran, keep=keep or self._took_up_memory(order), known=known)
        return Outcome(booted=True)

    def _shut_down(self, order: GuestOrder | Tombstone) -> Outcome:
        if isinstance(order, GuestOrder) and order.desired is Desired.RUNNING and self._took_up_memory(order):
            return Outcome(booted=True)  # it is asked to for a reboot, and runs by that boot
        shut_down(self._driver, self._settings, order.guest, agent=self._owner)
        return Outcome()

    def _took_up_memory(self, order: GuestOrder) -> bool:
        """Whether the boot that is ordered has begun, from saved memory. If the guest has a process, that is of this boot."""
        return boot_marks.boot_of(self._settings, order.guest, BootMark.MEMORY_TAKEN_UP) == order.boot

    def _pause(self, guest: GuestId, *, on_disk: bool) -> Outcome:
        try:
            (save if on_disk else pause)(self._driver, self._settings, guest, agent=self._owner)
        except _FAILED as error:
            return Outcome(not_paused=shorten_failure(str(error)))
        return Outcome()

    def _failed(self, order: GuestOrder, error: PinfoldError, ran: bool, *, keep: bool = False, known: str = "") -> Outcome:
        """Remove a guest that never ran, so that the service can try another host. A guest that ran stays, with its disk, for its user.

        With `keep`, a paused one stays paused, because its memory has something to lose. It is tried again.
        """
        guest, failure = order.guest, shorten_failure(str(error))
        kept = shorten_failure(f"{error}; it stays paused with its memory, and is tried again")
        if kept != known:
            _log.error("guest %s does not run: %s", guest, error)
        if not ran and not order.booted and not disk.has_run(self._settings, guest):
            self._withdraw(guest)
            return Outcome(gone=True, failure=failure)
        found = self._found(guest)
        if found is not None and found.state is GuestState.PAUSED:
            if keep:
                return Outcome(booted=True, failure=kept)
            # A guest that could not be verified must not stay paused: its threads are not where its record says.
            stop(self._driver, self._settings, guest, agent=self._owner)
        return Outcome(booted=True, failure=failure)

    def _withdraw(self, guest: GuestId) -> None:
        """Remove the guest's definition, and its files unless it ran."""
        self._undefine(guest)
        if not disk.has_run(self._settings, guest):
            self._delete_files(guest)

    def _undefine(self, guest: GuestId) -> None:
        """Remove the guest's process and definition; a guest that is not there is no error."""
        found = self._found(guest)
        if found is None:
            return
        if found.record is None or found.record.owner != self._owner:
            raise Conflict(f"guest {guest} is defined on this host, but not as a guest of {self._owner}; it is not touched")
        stop(self._driver, self._settings, guest, remove=True, keep_disk=True, agent=self._owner)

    def _delete_files(self, guest: GuestId) -> None:
        disk.remove(self._settings, guest)
        serial.forget(self._settings, guest)

    def _found(self, guest: GuestId) -> HostGuest | None:
        return next((found for found in self._driver.guests() if found.id == guest), None)


def _was_there_before(order: GuestOrder | Tombstone) -> bool:
    """Whether the guest's domain was there before the service."""
    return isinstance(order, GuestOrder) and order.takeover is not Takeover.NONE
