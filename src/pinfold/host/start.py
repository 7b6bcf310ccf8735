"""Start one guest, from request to running, in four steps:

1. Under the host's lock: survey, fit, create the overlay, define, start paused. From then on the guest's record is its claim.
2. Read its threads until stable and compare each with the record. If one differs, pin once more and compare again.
3. Survey again: no pCPU of the guest may have another owner, because somebody may have written without our lock.
4. Resume.
If a step fails, the guest, its definition and its files are removed before the error is raised. Files that existed before stay.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, PinfoldError, Unavailable
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.engine import fit as find_fit
from pinfold.core.host import HostState
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.overhead import Masks, masks
from pinfold.core.printable import shell_word
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, GuestSpec, GuestState, HostGuest, Observation, refuse_remote
from pinfold.faultpoints import fault_point
from pinfold.host import boot_marks, disk, serial
from pinfold.host.boot_marks import BootMark
from pinfold.host.claims import contested, misplaced
from pinfold.host.description import GuestDescription, check_name, placed
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.undo import Undo
from pinfold.host.verify import Verdict, record_of, verify


class NotPlaced(PinfoldError):
    """The guest was not started, because its threads are not in their recorded places. `findings` names them."""

    def __init__(self, message: str, *, findings: tuple[Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


class StartResult(Struct, frozen=True, kw_only=True):
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


def place(driver: Driver, settings: HostSettings, wanted: GuestDescription) -> StartResult | NoFit:
    """Place and start a guest on a host without a service, or return why it does not fit. Raises as `start`."""
    check_name(wanted.name)
    guest = GuestId(str(uuid.uuid4()))

    def decide(state: HostState) -> GuestSpec | NoFit:
        found = find_fit(wanted.request, state, settings.strategy)
        return found if isinstance(found, NoFit) else placed(_with_console_log(wanted, settings, guest), found, guest, _new_claim())

    return _start(driver, settings, guest, wanted.name, decide)


def _with_console_log(wanted: GuestDescription, settings: HostSettings, guest: GuestId) -> GuestDescription:
    """The guest with a console log in the state directory, unless its user or its template says where its console goes."""
    if wanted.boot.serial_log or wanted.template:
        return wanted
    return replace(wanted, boot=replace(wanted.boot, serial_log=str(serial.log_of(settings, guest))))


def start(driver: Driver, settings: HostSettings, spec: GuestSpec, *, again: bool = False, drive: bytes | None = None) -> StartResult:
    """Start a guest in the place that its record names. The record's owner is the host's agent. A guest that starts `again` ran here
    before, and its disk must exist. `drive` is its config drive's image, None for none or for the drive that it had when it ran.

    Raises `InvalidRequest` for an unusable name, file or template, and if the host is remote or owned by an agent; `Conflict` if the name
    or id is taken or another writer took a pCPU; `NotPlaced` if a thread is not in its place; `Unavailable` if the hypervisor is away. In
    all these cases nothing of the guest is left except a disk and a config drive that existed before, unless the error says otherwise.
    """
    started = _start(driver, settings, spec.id, spec.name, lambda _: spec, agent=spec.record.owner, again=again, drive=drive)
    assert isinstance(started, StartResult)
    return started


def define(driver: Driver, settings: HostSettings, spec: GuestSpec) -> None:
    """Define a guest that is not to run now, in the place that its record names: it is started paused, its threads are verified, and it is
    ended again. Its disk and its config drive must exist. Raises as `start`.
    """
    _start(driver, settings, spec.id, spec.name, lambda _: spec, agent=spec.record.owner, again=True, runs=False)


def _start(
    driver: Driver,
    settings: HostSettings,
    guest_id: GuestId,
    name: str,
    decide: Callable[[HostState], GuestSpec | NoFit],
    *,
    agent: str = "",
    again: bool = False,
    drive: bytes | None = None,
    runs: bool = True,
) -> StartResult | NoFit:
    """`decide` is given the host as it is under its lock. A guest that does not run ends once it was verified."""
    _refuse(driver, settings, agent)
    clock = _Clock()
    with Undo() as undo:
        with host_lock(settings):
            with clock.step("survey"):
                seen = survey(driver, settings)
            _refuse_taken(seen, guest_id, name)
            with clock.step("fit"):
                spec = decide(seen.state)
            if isinstance(spec, NoFit):
                return spec
            with clock.step("disk"):
                disk.sweep(settings, seen.guests)
                serial.trim(settings)
                _promise_removal(settings, spec, undo, again=again)
                boot = disk.prepare(settings, spec.id, spec.boot, spec.request.disk_gib, again=again, drive=drive)
            with clock.step("start paused"):
                guest = _start_paused(driver, replace(spec, boot=boot, virt_type=spec.virt_type or settings.virt_type), undo)
        fault_point("start.paused")
        verdict = _run(driver, settings, guest, seen, clock) if runs else _end(driver, settings, guest, seen)
        undo.forget()
    return _started(verdict, spec.record.fit, seen, clock)


def restart(driver: Driver, settings: HostSettings, key: str, *, agent: str = "", fresh: bool = False, boot: int = 0) -> StartResult:
    """Start a stopped guest of ours (by name or id) in its recorded place. `agent` is the caller's name if it is the host's agent.

    A guest whose memory was saved goes on from there, unless the start is `fresh`. The `boot` is then written down (0 is not), as
    `BootMark.MEMORY_TAKEN_UP`. The hypervisor deletes the saved memory as soon as the guest has it. So if something fails after that, the
    guest stays paused; unless `agent` is given, the error says so, and what tries again. Any other guest that fails to restart stays
    defined and stopped.

    A paused guest, which an interrupted start leaves, is verified and resumed. A record of an older pinfold gets the id of its claim.

    The guest kept its claim while it was stopped, but pools may have changed and others may be pinned there. Raises `NotPlaced` if its
    record is no longer valid, `InvalidRequest` if there is no such guest, it is not ours, or it runs; otherwise as `start`.
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
                with _staying_paused(driver, guest, agent):
                    return _started(_run(driver, settings, guest, seen, clock), record.fit, seen, clock)
            if guest.active:
                raise InvalidRequest(f"guest {guest.name} is {guest.state.value} already", key="guest")
            findings = misplaced(seen, settings, guest, record.fit)
            if findings:
                raise _not_placed(guest, findings, _way_out(guest, agent))
            if record.claim is None:
                driver.amend(guest.id, replace(record, claim=_new_claim()))
            saved = not fresh and driver.has_saved_memory(guest.id)
            if not saved:
                undo.add(f"guest {guest.name}", lambda: driver.stop(guest.id, remove=False))
                with clock.step("start paused"):
                    guest = driver.restart(guest.id, fresh=fresh)
        if saved:
            # Without the lock, because it may take long; a guest with a saved memory gets no other place meanwhile.
            if boot:
                _mark(settings, guest, boot)
            with _staying_paused(driver, guest, agent):
                with clock.step("start paused"):
                    guest = driver.restart(guest.id)
                verdict = _run(driver, settings, guest, seen, clock)
        else:
            verdict = _run(driver, settings, guest, seen, clock)
        undo.forget()
    return _started(verdict, record.fit, seen, clock)


@contextmanager
def _staying_paused(driver: Driver, guest: HostGuest, agent: str) -> Iterator[None]:
    """Adds to the error of a guest that is paused then that it keeps its memory, and what tries again. The agent tries again by itself."""
    try:
        yield
    except PinfoldError as error:
        if agent or not _is_paused(driver, guest.id):
            raise
        said = f"{error}; it stays paused with its memory; `pinfold guest restart {shell_word(guest.name)}` tries again"
        raise (NotPlaced(said, findings=error.findings) if isinstance(error, NotPlaced) else type(error)(said)) from error


def _is_paused(driver: Driver, guest: GuestId) -> bool:
    """Whether the hypervisor says that the guest is paused; not if it is away."""
    try:
        return any(found.id == guest and found.state is GuestState.PAUSED for found in driver.guests())
    except PinfoldError:
        return False


def _mark(settings: HostSettings, guest: HostGuest, boot: int) -> None:
    """Write down with which boot the saved memory is taken up. Raises `InvalidRequest` if it cannot be: the memory is still in its file."""
    try:
        boot_marks.write(settings, guest.id, BootMark.MEMORY_TAKEN_UP, boot)
    except OSError as error:
        why = f"the number of this boot cannot be written beside its disk: {error.strerror}"
        raise InvalidRequest(f"guest {guest.name} is not started from its saved memory, which is kept: {why}", key="disk") from error


def finish(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> StartResult:
    """Verify and resume a guest of ours that is paused: a crash left it so between start and resume, or somebody paused it. Raises as
    `restart`.

    A guest that fails stays paused. Its agent ends it if it never ran.
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


def _refuse(driver: Driver, settings: HostSettings, agent: str) -> None:
    refuse_remote(driver, "a guest is started on its own host")
    refuse_if_owned(settings, "guest start", by=agent)


def _refuse_taken(seen: Survey, guest_id: GuestId, name: str) -> None:
    for guest in seen.guests:
        if guest.name == name or guest.id == guest_id:
            what = "name" if guest.name == name else "id"
            raise Conflict(f"the {what} of guest {name} ({guest_id}) is taken: {guest.name} ({guest.id}) is {guest.state.value}")


def _new_claim() -> ClaimId:
    """The id of a claim on a host without a service."""
    return ClaimId(str(uuid.uuid4()))


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


def _promise_removal(settings: HostSettings, spec: GuestSpec, undo: Undo, *, again: bool) -> None:
    """Add to `undo` the files that this start makes. A guest that ran before has its disk and its config drive, or does not start."""
    made = () if again else disk.lacking(settings, spec.id)
    if made:
        undo.add(f"the disk of guest {spec.name}", lambda: disk.discard(settings, spec.id, made))
    log = Path(spec.boot.serial_log) if spec.boot.serial_log else None
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


def _end(driver: Driver, settings: HostSettings, guest: HostGuest, seen: Survey) -> Verdict:
    """Verifies a paused guest and ends it. Raises `NotPlaced`."""
    verdict = _settle(driver, settings, guest, seen.state.topology.online)
    driver.stop(guest.id, remove=False)
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
