"""What an agent does about one guest whose disk is worth something: real guests, no service but the orders that a test writes."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.build.orders import order
from tests.real.host.bench import DEDICATED, Bench, FailsLate

from pinfold.agent.client import ServiceClient
from pinfold.agent.events import Outcome
from pinfold.agent.perform import Performer
from pinfold.agent.reconcile import Act, Task
from pinfold.agent.wire import FAILURE_SENT, GuestOrder
from pinfold.core.errors import Conflict, Unavailable
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.core.networks import HostNetwork, NetworkKind, Port, mac_of
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.drivers.port import Driver, GuestState
from pinfold.host import disk
from pinfold.host.survey import survey
from pinfold.host.undo import Undo
from pinfold.host.verify import verify

OWNER = "the agent of bench"


@dataclass
class Host:
    """A bench with the agent's hand on it, an image of a disk, and an order for one guest of it."""

    bench: Bench
    performer: Performer
    image: Path
    order: GuestOrder

    def do(self, act: Act, *, booted: int = 0, ran: bool = False, known: str = "") -> Outcome:
        """What comes of one action; the service has heard of so many boots, and its agent remembers one or not, and how it failed."""
        return self.performer.perform(Task(act=act, order=structs.replace(self.order, booted=booted)), ran=ran, known=known)

    @property
    def overlay(self) -> Path:
        return disk.overlay_path(self.bench.settings, self.order.guest)

    def with_drive(self) -> Path:
        """Its config drive, of which the service has no copy any more. The order then names one."""
        self.order = structs.replace(self.order, config_drive=True)
        path = disk.drive_path(self.bench.settings, self.order.guest)
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        path.write_bytes(b"the only copy")
        return path

    def states(self) -> list[GuestState]:
        return [guest.state for guest in self.bench.driver.guests()]

    def wrote(self) -> bytes:
        """What the guest left on its disk: the test writes it in its place, once."""
        if b"precious" not in self.overlay.read_bytes():
            with self.overlay.open("ab") as file:
                file.write(b"precious")
        return self.overlay.read_bytes()


@pytest.fixture
def host(synthetic_bench: Bench, tmp_path: Path) -> Iterator[Host]:
    images = tmp_path / "images"
    images.mkdir(mode=0o755)
    image = images / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    image.chmod(0o644)
    bench = replace(synthetic_bench, settings=structs.replace(synthetic_bench.settings, images_dir=str(images), host="bench"))
    request = compile_request(Flavor(vcpus=1, memory_mib=16, extra_specs=tuple(DEDICATED.items())), disks=1)
    found = fit(request, survey(bench.driver, bench.settings).state, bench.settings.strategy)
    assert isinstance(found, Fit)
    made = order(str(uuid.uuid4()), claim=str(uuid.uuid4()), request=request, fit=found, image="disk")
    service = ServiceClient("http://127.0.0.1:9", "none")
    yield Host(bench=bench, performer=Performer(bench.driver, bench.settings, service, OWNER), image=image, order=made)
    service.close()


def test_a_first_start_that_fails_leaves_nothing(host: Host) -> None:
    host.image.with_suffix(".qcow2").write_bytes(b"no qcow2")
    outcome = host.do(Act.START)
    assert outcome.gone and "disk.qcow2" in outcome.failure
    assert host.bench.left() == []


def test_a_failure_that_is_very_long_is_told_in_its_beginning(host: Host, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 12)
    deep.mkdir(parents=True)
    (deep / "disk.qcow2").write_bytes(b"no qcow2")
    host.performer._settings = structs.replace(host.bench.settings, images_dir=str(deep))
    outcome = host.do(Act.START)
    assert outcome.gone
    assert (len(outcome.failure), outcome.failure[-1]) == (FAILURE_SENT, "…")


def test_a_later_start_that_fails_keeps_the_disk_and_the_next_one_has_it(host: Host) -> None:
    assert host.do(Act.START) == Outcome(booted=True)
    host.do(Act.UNDEFINE)
    kept = host.wrote()
    host.image.rename(host.image.with_suffix(".away"))
    host.image.with_suffix(".qcow2").write_bytes(b"no qcow2")
    outcome = host.do(Act.START, booted=1)
    assert outcome.booted and not outcome.gone and "disk.raw" in outcome.failure
    assert host.states() == []
    assert host.overlay.read_bytes() == kept
    host.image.with_suffix(".qcow2").unlink()
    host.image.with_suffix(".away").rename(host.image)
    assert host.do(Act.START, booted=1) == Outcome(booted=True)
    assert host.states() == [GuestState.RUNNING]


def test_a_disk_is_kept_also_where_the_service_never_heard_of_a_boot(host: Host) -> None:
    host.do(Act.START)
    host.do(Act.UNDEFINE)
    kept = host.wrote()
    for act in (Act.UNDEFINE, Act.REFUSE_STALE):
        host.do(act)
        assert host.overlay.read_bytes() == kept
    assert host.do(Act.REMOVE) == Outcome(gone=True)
    assert host.bench.left() == []


def test_a_disk_that_is_gone_is_told_and_not_made_anew(host: Host) -> None:
    host.do(Act.START)
    host.do(Act.UNDEFINE)
    host.overlay.unlink()
    for booted, ran in ((1, False), (0, True)):  # an order that is older than the boot knows nothing of it
        outcome = host.do(Act.START, booted=booted, ran=ran)
        assert outcome.booted and not outcome.gone and str(host.overlay) in outcome.failure
    assert not host.overlay.exists()


def test_a_later_start_that_fails_keeps_the_config_drive_of_a_guest_without_a_disk(host: Host) -> None:
    shutil.copy(host.bench.rom, host.image.with_suffix(".rom"))
    host.image.unlink()
    drive = host.with_drive()
    host.performer._driver = FailsLate(host.bench.driver, "resume")  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        host.do(Act.START, booted=1)
    assert (host.states(), drive.read_bytes()) == ([], b"the only copy")
    assert host.do(Act.START, booted=1) == Outcome(booted=True)


def test_a_later_start_without_its_disk_keeps_the_config_drive(host: Host) -> None:
    host.do(Act.START)
    host.do(Act.UNDEFINE)
    drive = host.with_drive()
    moved = host.overlay.rename(host.image.with_suffix(".moved"))
    assert str(host.overlay) in host.do(Act.START, booted=1).failure
    assert drive.read_bytes() == b"the only copy"
    moved.rename(host.overlay)
    assert host.do(Act.START, booted=1) == Outcome(booted=True)


class Refuses:
    """A driver, but for one method that fails before it does anything, once."""

    def __init__(self, driver: Driver, method: str, error: Exception) -> None:
        self._driver, self._method, self._error = driver, method, error

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._driver, name)
        self._method = ""

        def fails(*arguments: Any, **more: Any) -> Any:
            raise self._error

        return fails


AWAY, TAKEN = Unavailable("libvirt went away"), Conflict("guest web was not started: somebody is pinned there")


def suspended(host: Host) -> None:
    """A guest whose memory is saved, and the order to resume it: its second boot."""
    assert host.do(Act.START) == Outcome(booted=True)
    assert host.do(Act.SUSPEND) == Outcome()
    host.order = structs.replace(host.order, boot=2)


@pytest.mark.parametrize("method", ["restart", "resume"])
def test_a_resume_during_which_libvirt_goes_away_is_finished_and_not_booted(host: Host, method: str) -> None:
    suspended(host)
    late, early = FailsLate(host.bench.driver, "restart"), Refuses(host.bench.driver, "resume", AWAY)
    host.performer._driver = late if method == "restart" else early  # type: ignore[assignment]
    with pytest.raises(Unavailable, match=r"^libvirt went away$"):
        host.do(Act.RESTART, booted=1, ran=True)
    (guest,) = host.bench.driver.guests()
    assert guest.state is GuestState.PAUSED
    assert host.do(Act.REBOOT, booted=1, ran=True) == Outcome(booted=True)  # a boot later than the last one is ordered
    (after,) = host.bench.driver.guests()
    assert (after.state, after.pid) == (GuestState.RUNNING, guest.pid)


@pytest.mark.parametrize("act", [Act.SHUT_DOWN, Act.REBOOT])
def test_a_resume_of_which_nobody_heard_that_it_succeeded_is_neither_shut_down_nor_booted(host: Host, act: Act) -> None:
    suspended(host)
    host.performer._driver = FailsLate(host.bench.driver, "resume")  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        host.do(Act.RESTART, booted=1, ran=True)
    (guest,) = host.bench.driver.guests()
    assert guest.state is GuestState.RUNNING
    assert host.do(act, booted=1, ran=True) == Outcome(booted=True)
    (after,) = host.bench.driver.guests()
    assert (after.state, after.pid) == (GuestState.RUNNING, guest.pid)
    host.order = structs.replace(host.order, boot=3)  # what is asked for later is done
    assert host.do(Act.SHUT_DOWN, booted=2, ran=True) == Outcome()
    assert host.do(Act.REBOOT, booted=2, ran=True) == Outcome(booted=True)
    (rebooted,) = host.bench.driver.guests()
    assert (rebooted.state, rebooted.pid == guest.pid) == (GuestState.RUNNING, False)


def test_a_resume_that_is_refused_keeps_the_memory_and_is_tried_again(host: Host) -> None:
    suspended(host)
    host.performer._driver = Refuses(host.bench.driver, "resume", TAKEN)  # type: ignore[assignment]
    outcome = host.do(Act.RESTART, booted=1, ran=True)
    assert outcome == Outcome(booted=True, failure=f"{TAKEN}; it stays paused with its memory, and is tried again")
    (guest,) = host.bench.driver.guests()
    assert guest.state is GuestState.PAUSED
    assert host.do(Act.FINISH, booted=2, ran=True) == Outcome(booted=True)
    (after,) = host.bench.driver.guests()
    assert (after.state, after.pid) == (GuestState.RUNNING, guest.pid)


def test_a_resume_whose_number_cannot_be_written_leaves_the_memory_in_its_file(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    suspended(host)
    with monkeypatch.context() as full:
        full.setattr("pinfold.host.boot_marks.files.written", no_space)
        outcome = host.do(Act.RESTART, booted=1, ran=True)
    assert outcome.booted and outcome.failure.endswith("cannot be written beside its disk: No space left on device")
    assert (host.states(), host.bench.driver.has_saved_memory(host.order.guest)) == ([GuestState.STOPPED], True)
    host.order = structs.replace(host.order, boot=3)
    assert host.do(Act.RESTART, booted=2, ran=True) == Outcome(booted=True)
    assert (host.states(), host.bench.driver.has_saved_memory(host.order.guest)) == ([GuestState.RUNNING], False)


def no_space(*arguments: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("booted", [0, 1], ids=["the agent remembers", "the service knows"])
def test_a_paused_guest_that_cannot_go_on_stays_paused(host: Host, booted: int, caplog: pytest.LogCaptureFixture) -> None:
    assert host.do(Act.START) == Outcome(booted=True)
    assert host.do(Act.PAUSE) == Outcome()
    host.performer._driver = Refuses(host.bench.driver, "resume", TAKEN)  # type: ignore[assignment]
    (guest,) = host.bench.driver.guests()
    outcome = host.do(Act.FINISH, booted=booted, ran=not booted)
    assert outcome == Outcome(booted=True, failure=f"{TAKEN}; it stays paused with its memory, and is tried again")
    assert host.states() == [GuestState.PAUSED]
    for known, logged in ((outcome.failure, 0), ("another failure", 1)):
        caplog.clear()
        host.performer._driver = Refuses(host.bench.driver, "resume", TAKEN)  # type: ignore[assignment]
        assert host.do(Act.FINISH, booted=1, ran=True, known=known) == outcome
        assert caplog.text.count("does not run") == logged
    assert host.do(Act.FINISH, booted=1, ran=True) == Outcome(booted=True)
    (after,) = host.bench.driver.guests()
    assert (after.state, after.pid) == (GuestState.RUNNING, guest.pid)


def test_a_guest_that_never_ran_does_not_stay_paused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinfold.host.start.Undo", partial(Undo, wait_seconds=0.0))
    host.performer._driver = Refuses(host.bench.driver, "observe", AWAY)  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(host.bench.driver, "stop", refusing)
        with pytest.raises(Unavailable):
            host.do(Act.START)
    assert (host.states(), host.overlay.exists()) == ([GuestState.PAUSED], True)
    host.performer._driver = Refuses(host.bench.driver, "observe", TAKEN)  # type: ignore[assignment]
    assert host.do(Act.FINISH) == Outcome(gone=True, failure=str(TAKEN))
    assert host.bench.left() == []


def refusing(*arguments: Any, **more: Any) -> None:
    raise AWAY


def test_a_guest_of_that_id_that_is_not_the_agents_is_neither_touched_nor_confirmed_gone(host: Host) -> None:
    host.do(Act.START)
    stranger = Performer(host.bench.driver, host.bench.settings, ServiceClient("http://127.0.0.1:9", "none"), "the agent of another host")
    for act in (Act.REMOVE, Act.CONFIRM_ABSENT, Act.REFUSE_STALE, Act.UNDEFINE):
        with pytest.raises(Conflict, match="is not touched"):
            stranger.perform(Task(act=act, order=host.order))
    assert host.states() == [GuestState.RUNNING] and host.overlay.exists()


def test_being_asked_to_shut_down_takes_no_time_and_a_guest_that_is_gone_is_no_error(host: Host) -> None:
    host.do(Act.START)
    assert host.do(Act.SHUT_DOWN) == Outcome()
    assert host.states() == [GuestState.RUNNING], "there is no system on the disk that could hear it"
    host.do(Act.STOP)
    assert host.states() == [GuestState.STOPPED]
    assert host.do(Act.SHUT_DOWN) == Outcome()
    assert host.do(Act.RESTART, booted=1) == Outcome(booted=True)


def test_interfaces_are_attached_and_detached_each_for_itself(host: Host) -> None:
    networks = (
        HostNetwork(name="out", kind=NetworkKind.USER),
        HostNetwork(name="gone", kind=NetworkKind.BRIDGE, source="br-none"),
    )
    host.performer._settings = structs.replace(host.bench.settings, networks=networks)
    out, gone, unknown = (port(number, name) for number, name in enumerate(("out", "gone", "unknown"), 1))
    assert host.do(Act.START) == Outcome(booted=True)
    host.order = structs.replace(host.order, ports=(gone, out, unknown))
    for _ in range(2):  # again: what is there is not attached twice, and what failed is tried
        outcome = host.do(Act.CHANGE_INTERFACES)
        assert [failed.mac for failed in outcome.interfaces] == [gone.mac, unknown.mac]
        assert "br-none" in outcome.interfaces[0].why
        assert "this host does not offer the network unknown" in outcome.interfaces[1].why
        (guest,) = host.bench.driver.guests()
        assert (guest.macs, guest.kept_macs, guest.state) == ((out.mac,), (out.mac,), GuestState.RUNNING)
    assert verify(host.bench.driver, host.bench.settings, guest, online=host.bench.driver.topology().online).drift == ()
    host.do(Act.STOP)
    host.order = structs.replace(host.order, ports=(), detach=(out.mac, gone.mac))
    assert host.do(Act.CHANGE_INTERFACES) == Outcome()
    (guest,) = host.bench.driver.guests()
    assert guest.macs == ()


def port(number: int, network: str) -> Port:
    key = str(uuid.UUID(int=number))
    return Port(id=key, network=network, mac=mac_of(key))
