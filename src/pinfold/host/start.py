"""Start one guest, from request to running, in four steps:

1. Under the host's lock: survey, fit, create the overlay, define, start paused. From then on the guest's record is its claim.
2. Read its threads until stable and compare each with the record. If one differs, pin once more and compare again.
3. Survey again: no pCPU of the guest may have another owner, because somebody may have written without our lock.
4. Resume.
If a step fails, the guest, its definition and its files are removed before the error is raised. A disk that existed before stays.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding
from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, PinfoldError, Unavailable
from pinfold.core.fit.engine import fit as find_fit
from pinfold.core.fit.model import Fit, NoFit
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import Masks, masks
from pinfold.core.printable import shell_word
from pinfold.core.request.model import GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, Driver, GuestSpec, GuestState, HostGuest, Observation, Record
from pinfold.faultpoints import fault_point
from pinfold.host import disk
from pinfold.host.claims import contested, misplaced
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.undo import Undo
from pinfold.host.verify import Verdict, record_of, verify

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


class NotPlaced(PinfoldError):
    """The guest was not started, because its threads are not in their recorded places. `findings` names them."""

    def __init__(self, message: str, *, findings: tuple[Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """One guest to place and start. The caller makes `id`, a UUID in text form; `flavor` is a name for people.

    The image in `boot.disk` is not changed: the guest writes to an overlay, of size `request.disk_gib` if given. `template` is domain XML
    or ''. `virt_type` is `kvm`, `qemu` or '' for the best that the host has. A guest that starts `again` ran here before, and its disk
    must exist. `drive` is its config drive's image, None for none or for the drive that it had when it ran.
    """

    id: str
    name: str
    request: GuestRequest
    flavor: str = ""
    boot: Boot = Boot()
    template: str = ""
    virt_type: str = ""
    again: bool = False
    drive: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartResult:
    """A running guest, and the proof of its place.

    `observation` shows its threads before it ran. `findings` are only notes, because drift would have stopped the start.
    `timings` holds `(step, seconds)` in the order of the steps.
    """

    guest: HostGuest
    fit: Fit
    masks: Masks
    observation: Observation
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: tuple[tuple[str, float], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The proof as a verdict on the guest."""
        policy = record_of(self.guest).policy
        return Verdict(guest=self.guest, policy=policy, masks=self.masks, observation=self.observation, findings=self.findings)


@dataclass(slots=True)
class _Clock:
    """Measures how long each step takes, in the order of the steps."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps.append((name, time.perf_counter() - began))


def start(driver: Driver, settings: HostSettings, order: StartOrder, *, claimed: Record | None = None) -> StartResult | NoFit:
    """Place and start the guest, or return why it does not fit.

    `claimed` is given in an agent's start: the service has decided the place, and the record's owner is the host's agent.
    Raises `InvalidRequest` for an unusable name, file or template, and if the host is remote or owned by an agent; `Conflict` if the name
    or id is taken or another writer took a pCPU; `NotPlaced` if a thread is not in its place; `Unavailable` if the hypervisor is away. In
    all these cases nothing of the guest is left except a disk that existed before, unless the error says otherwise.
    """
    check_order(order)
    _refuse(driver, settings, claimed.owner if claimed else "")
    clock = _Clock()
    with Undo() as undo:
        with host_lock(settings):
            with clock.step("survey"):
                seen = survey(driver, settings)
            _refuse_taken(seen, order)
            with clock.step("fit"):
                found = claimed.fit if claimed else find_fit(order.request, seen.state, settings.strategy)
            if isinstance(found, NoFit):
                return found
            with clock.step("disk"):
                disk.sweep(settings, seen.guests)
                _promise_removal(settings, order, undo)
                boot = disk.prepare(settings, order.id, order.boot, order.request.disk_gib, again=order.again, drive=order.drive)
            with clock.step("start paused"):
                guest = _start_paused(driver, _spec(settings, order, boot, claimed or _record(order, found)), undo)
        fault_point("start.paused")
        verdict = _run(driver, settings, guest, seen, clock)
        undo.forget()
    return _started(verdict, found, seen, clock)


def restart(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> StartResult:
    """Start a stopped guest of ours (by name or id) in its recorded place. `agent` is the caller's name if it is the host's agent.

    A paused guest, which an interrupted start leaves, is verified and resumed. A record of an older pinfold gets the id of its claim.

    The guest kept its claim while it was stopped, but pools may have changed and others may be pinned there. Raises `NotPlaced` if its
    record is no longer valid, `InvalidRequest` if there is no such guest, it is not ours, or it runs; otherwise as `start`.
    A guest that fails to restart stays defined and stopped.
    """
    _refuse(driver, settings, agent)
    clock = _Clock()
    with Undo() as undo:
        with host_lock(settings):
            with clock.step("survey"):
                seen = survey(driver, settings)
            guest = seen.guest(key)
            record = record_of(guest)
            if guest.state is GuestState.PAUSED:
                return _started(_run(driver, settings, guest, seen, clock), record.fit, seen, clock)
            if guest.active:
                raise InvalidRequest(f"guest {guest.name} is {guest.state.value} already", key="guest")
            findings = misplaced(seen, settings, guest, record.fit)
            if findings:
                raise _not_placed(guest, findings, _way_out(guest, agent))
            with clock.step("start paused"):
                if record.claim is None:
                    driver.amend(guest.id, replace(record, claim=_new_claim()))
                undo.add(f"guest {guest.name}", lambda: driver.stop(guest.id, remove=False))
                guest = driver.restart(guest.id)
        verdict = _run(driver, settings, guest, seen, clock)
        undo.forget()
    return _started(verdict, record.fit, seen, clock)


def finish(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> StartResult:
    """Verify and resume a guest of ours that a crash left paused between start and resume. Raises as `restart`.

    A guest that fails stays paused; its agent removes it.
    """
    _refuse(driver, settings, agent)
    clock = _Clock()
    with host_lock(settings):
        seen = survey(driver, settings)
        guest = seen.guest(key)
        record = record_of(guest)
    if guest.state is not GuestState.PAUSED:
        raise InvalidRequest(f"guest {guest.name} is {guest.state.value}, not paused", key="guest")
    return _started(_run(driver, settings, guest, seen, clock), record.fit, seen, clock)


def check_order(order: StartOrder) -> None:
    """Raises `InvalidRequest` if the id is no UUID, or the name is not valid as a file name, a domain name and a shell word."""
    try:
        canonical = str(uuid.UUID(order.id))
    except ValueError as error:
        raise InvalidRequest(f"guest id {order.id!r} is not a UUID", key="id") from error
    if canonical != order.id:
        raise InvalidRequest(f"guest id {order.id!r} is not in its plain form, which is {canonical}", key="id")
    if not _NAME.fullmatch(order.name):
        raise InvalidRequest(
            f"guest name {order.name!r} is not allowed: 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit",
            key="name",
        )


def _refuse(driver: Driver, settings: HostSettings, agent: str) -> None:
    if not driver.local:
        raise InvalidRequest(f"a guest is started on its own host alone; {driver.uri} is remote and read-only", key="uri")
    refuse_if_owned(settings, "guest start", by=agent)


def _refuse_taken(seen: Survey, order: StartOrder) -> None:
    for guest in seen.guests:
        if guest.name == order.name or guest.id == order.id:
            what = "name" if guest.name == order.name else "id"
            raise Conflict(f"the {what} of guest {order.name} ({order.id}) is taken: {guest.name} ({guest.id}) is {guest.state.value}")


def _record(order: StartOrder, found: Fit) -> Record:
    policy = order.request.emulator_policy
    return Record(guest=order.id, policy=policy, fit=found, claim=_new_claim(), flavor=order.flavor, owner=OWNER, request=order.request)


def _new_claim() -> ClaimId:
    """The id of a claim on a host without a service."""
    return ClaimId(str(uuid.uuid4()))


def _spec(settings: HostSettings, order: StartOrder, boot: Boot, record: Record) -> GuestSpec:
    virt_type = order.virt_type or settings.virt_type
    return GuestSpec(
        id=order.id, name=order.name, request=order.request, record=record, boot=boot, template=order.template, virt_type=virt_type
    )


def _start_paused(driver: Driver, spec: GuestSpec, undo: Undo) -> HostGuest:
    """Start the guest paused, and add its removal to `undo`.

    If the hypervisor refuses the guest, nothing is added: the driver has undone its start, and an existing guest belongs to somebody. If
    the hypervisor died in the middle or the user interrupted, the guest may still be defined, so its removal is added.
    """
    try:
        guest = driver.start(spec)
    except (Conflict, InvalidRequest):
        raise
    except BaseException:
        undo.add(f"guest {spec.name}", lambda: driver.stop(spec.id, remove=True))
        raise
    undo.add(f"guest {spec.name}", lambda: driver.stop(spec.id, remove=True))
    return guest


def _promise_removal(settings: HostSettings, order: StartOrder, undo: Undo) -> None:
    if not disk.overlay_path(settings, order.id).exists():
        undo.add(f"the disk of guest {order.name}", lambda: disk.remove(settings, order.id))
    log = Path(order.boot.serial_log) if order.boot.serial_log else None
    if log is not None and not log.exists():
        undo.add(f"the serial log {log}", lambda: log.unlink(missing_ok=True))


def _run(driver: Driver, settings: HostSettings, guest: HostGuest, seen: Survey, clock: _Clock) -> Verdict:
    """Verifies a paused guest and lets it run. Raises `NotPlaced` or `Conflict`."""
    with clock.step("verify"):
        verdict = _settle(driver, settings, guest, seen.state.topology.online)
    with clock.step("survey again"):
        lost = contested(survey(driver, settings), guest.id)
    if lost:
        raise Conflict(f"guest {guest.name} was not started: " + "; ".join(finding.sentence() for finding in lost))
    fault_point("start.verified")
    disk.settled(settings, guest.id)
    with clock.step("resume"):
        driver.resume(guest.id)
    return verdict


def _settle(driver: Driver, settings: HostSettings, guest: HostGuest, online: CpuSet) -> Verdict:
    """Compares every thread. If one is misplaced (created while libvirt pinned, or not moved by it), pins once more and compares again."""
    verdict = verify(driver, settings, guest, online=online)
    if verdict.drift or _unsettled(verdict):
        try:
            driver.pin(guest.id, masks(record_of(guest).fit))
        except Unavailable as error:
            # The second comparison names a thread that cannot be moved, and raises if the hypervisor is away.
            verdict = verify(driver, settings, guest, online=online)
            if not verdict.drift:
                raise
            raise _not_placed(guest, verdict.drift) from error
        # Read it again: the pin has corrected a definition that somebody changed while the guest was stopped.
        verdict = verify(driver, settings, pick(driver.guests(), guest.id), online=online)
    if verdict.drift:
        raise _not_placed(guest, verdict.drift)
    if _unsettled(verdict):
        raise NotPlaced(f"guest {guest.name} was not started: its threads never settled", findings=verdict.findings)
    return verdict


def _unsettled(verdict: Verdict) -> bool:
    return verdict.observation is None or not verdict.observation.stable


def _not_placed(guest: HostGuest, findings: tuple[Finding, ...], way_out: str = "") -> NotPlaced:
    said = [finding.sentence().removeprefix(f"guest {guest.name}: ") for finding in findings]
    return NotPlaced(f"guest {guest.name} was not started: " + "; ".join([*said, *filter(None, [way_out])]), findings=findings)


def _way_out(guest: HostGuest, agent: str) -> str:
    """Advice that gives a stopped guest a valid place again."""
    if agent:
        return "starting the server again gives it a place in the pools of today"
    return f"`pinfold guest replace {shell_word(guest.name)}` gives it a place in the pools of today"


def _started(verdict: Verdict, found: Fit, seen: Survey, clock: _Clock) -> StartResult:
    if verdict.observation is None:
        raise InvariantViolation(f"guest {verdict.guest.name} runs, but none of its threads was looked at")
    return StartResult(
        guest=replace(verdict.guest, state=GuestState.RUNNING),
        fit=found,
        masks=masks(found),
        observation=verdict.observation,
        findings=verdict.findings,
        warnings=seen.warnings,
        timings=tuple(clock.steps),
    )
