"""The driver against libvirt's own `test` hypervisor, which is not this host's; and our numbers against libvirt's."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt
import pytest
from tests.build.specs import SPECS

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.overhead import Masks, ThreadClass
from pinfold.drivers.libvirt import errors, events, status
from pinfold.drivers.libvirt.address import address
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Driver, EventKind, GuestState


@pytest.fixture
def remote() -> Iterator[LibvirtDriver]:
    driver = LibvirtDriver("test:///default")
    yield driver
    driver.close()


def test_it_is_a_driver(remote: LibvirtDriver) -> None:
    as_driver: Driver = remote
    assert (as_driver.uri, as_driver.local) == ("test:///default", False)


def test_the_guests_of_another_host_are_listed_and_unverified(remote: LibvirtDriver) -> None:
    (guest,) = remote.guests()
    assert (guest.name, guest.state, guest.pid, guest.record) == ("test", GuestState.RUNNING, None, None)
    observation = remote.observe(guest)
    assert observation.witness == "hypervisor's word (unverified)"
    assert [(thread.tid, thread.thread_class) for thread in observation.threads] == [
        (0, ThreadClass.VCPU),
        (0, ThreadClass.VCPU),
        (0, ThreadClass.EMULATOR),
    ]


def test_another_host_s_topology_is_read(remote: LibvirtDriver) -> None:
    assert [cell.id for cell in remote.topology().cells] == [0, 1]


def test_nothing_is_changed_on_another_host(remote: LibvirtDriver) -> None:
    (guest,) = remote.guests()
    spec = SPECS["unset"]
    masks = Masks(vcpus=(CpuSet.of(0), CpuSet.of(1)), overhead=CpuSet.of(0))
    acts = [
        lambda: remote.start(spec),
        lambda: remote.restart(guest.id),
        lambda: remote.resume(guest.id),
        lambda: remote.stop(guest.id, remove=True),
        lambda: remote.pin(guest.id, masks),
    ]
    for act in acts:
        with pytest.raises(InvalidRequest, match="is remote and read-only"):
            act()
    assert remote.guests() == (guest,)


@pytest.mark.parametrize(
    "uri", ["qemu+unix:///system?socket=/nowhere/libvirt-sock", "qemu+tcp://127.0.0.1:1/system"], ids=["no socket", "no listener"]
)
def test_a_libvirt_that_is_not_there_is_unavailable_in_one_sentence(uri: str) -> None:
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        LibvirtDriver(uri)
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "qemu", "/system", "qemu://[::1/system", "qemu://host"])
def test_what_is_no_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidRequest, match="libvirt URI"):
        address(uri)


@pytest.mark.parametrize(
    ("uri", "local", "state_dir"),
    [
        ("qemu:///system", True, "/run/libvirt/qemu"),
        ("qemu+unix:///system", True, "/run/libvirt/qemu"),
        ("qemu+unix:///system?socket=/srv/a%20b/run/libvirt-sock", True, "/srv/a b/run/qemu"),
        ("qemu:///session", True, "/run/user/7/libvirt/qemu/run"),
        ("qemu+ssh://root@c07/system", False, ""),
        ("qemu+tcp://localhost/system", False, ""),
        ("qemu+tls:///system", False, ""),
        ("qemu+ext:///system?command=/x", False, ""),
        ("qemu://c07/system", False, ""),
        ("xen:///system", False, ""),
        ("test:///default", False, ""),
    ],
)
def test_a_uri_says_whose_processes_the_guests_are(uri: str, local: bool, state_dir: str) -> None:
    found = address(uri, session_dir="/run/user/7")
    assert (found.local, found.state_dir) == (local, state_dir)


def test_a_run_dir_may_be_given() -> None:
    assert address("qemu:///system", run_dir="/srv/run").state_dir == "/srv/run/qemu"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NO_CONNECT", Unavailable),
        ("INVALID_CONN", Unavailable),
        ("RPC", Unavailable),
        ("AUTH_FAILED", Unavailable),
        ("AUTH_CANCELLED", Unavailable),
        ("OPERATION_TIMEOUT", Unavailable),
        ("DOM_EXIST", Conflict),
        ("NO_DOMAIN", InvalidRequest),
        ("INTERNAL_ERROR", InvalidRequest),
        ("XML_ERROR", InvalidRequest),
    ],
)
def test_libvirt_s_error_numbers_are_the_ones_we_mean(name: str, kind: type[Exception]) -> None:
    error = errors.translated("x", getattr(libvirt, f"VIR_ERR_{name}"), "y\n  z", lost=False)
    assert type(error) is kind
    assert str(error) == "x: y z"


def test_a_lost_connection_makes_every_error_unavailable() -> None:
    assert isinstance(errors.translated("x", libvirt.VIR_ERR_SYSTEM_ERROR, "reset", lost=True), Unavailable)
    assert (errors.NO_DOMAIN, errors.INVALID_ARGUMENT) == (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG)
    assert errors.OPERATION_INVALID == libvirt.VIR_ERR_OPERATION_INVALID


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DEFINED", EventKind.DEFINED),
        ("UNDEFINED", EventKind.UNDEFINED),
        ("STARTED", EventKind.STARTED),
        ("SUSPENDED", EventKind.PAUSED),
        ("RESUMED", EventKind.RESUMED),
        ("STOPPED", EventKind.STOPPED),
        ("SHUTDOWN", None),
        ("PMSUSPENDED", EventKind.PAUSED),
        ("CRASHED", EventKind.STOPPED),
    ],
)
def test_libvirt_s_event_numbers_are_the_ones_we_mean(name: str, kind: EventKind | None) -> None:
    event = events.lifecycle("g", getattr(libvirt, f"VIR_DOMAIN_EVENT_{name}"), 0)
    assert (None if event is None else event.kind) is kind


@pytest.mark.parametrize(
    ("name", "reason", "state"),
    [
        ("RUNNING", 0, GuestState.RUNNING),
        ("BLOCKED", 0, GuestState.RUNNING),
        ("PAUSED", 0, GuestState.PAUSED),
        ("SHUTDOWN", 0, GuestState.RUNNING),
        ("SHUTOFF", libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, GuestState.STOPPED),
        ("SHUTOFF", libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, GuestState.CRASHED),
        ("CRASHED", 0, GuestState.CRASHED),
        ("PMSUSPENDED", 0, GuestState.PAUSED),
    ],
)
def test_libvirt_s_states_are_the_ones_we_mean(name: str, reason: int, state: GuestState) -> None:
    assert status.state_of(getattr(libvirt, f"VIR_DOMAIN_{name}"), reason) is state


def test_the_ways_to_stop_have_names() -> None:
    stopped = libvirt.VIR_DOMAIN_EVENT_STOPPED
    for number, word in (
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED, "destroyed"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, "failed"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT, "from snapshot"),
        (99, "99"),
    ):
        event = events.lifecycle("g", stopped, number)
        assert event is not None
        assert event.detail == word
    assert events.closed(libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE).detail == "no answer to keepalive"
