"""When a guest may be taken as last read, and when it must be read anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pinfold.core.identity import GuestId
from pinfold.drivers.libvirt import state_files
from pinfold.drivers.libvirt.address import Address, address
from pinfold.drivers.libvirt.last_read import TRUSTED_SECONDS, LastRead
from pinfold.drivers.libvirt.state_files import Marks, StateFiles
from pinfold.drivers.port import GuestState, HostGuest

WEB = HostGuest(id=GuestId("1"), name="web", state=GuestState.RUNNING, vcpus=1, memory_mib=1)
MARKS = Marks(definition=(1, 2, 3, 4), status=(5, 6, 7, 8), process=(9, 10))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(*, marks: Marks | None = MARKS, clock: Clock | None = None) -> LastRead:
    made = LastRead(clock or Clock())
    made.keep(WEB, marks)
    return made


def same(known: LastRead, *, marks: Marks | None = MARKS, state: GuestState = GuestState.RUNNING) -> bool:
    return known.unchanged("1", state, {"web": marks}.get) is not None


def test_a_guest_with_the_same_marks_and_state_is_as_last_read() -> None:
    assert known().unchanged("1", GuestState.RUNNING, {"web": MARKS}.get) is WEB


@pytest.mark.parametrize(
    "marks",
    [
        replace(MARKS, definition=(1, 2, 4, 4)),
        replace(MARKS, status=None),
        replace(MARKS, process=(9, 11)),
        replace(MARKS, process=None),
        None,
    ],
    ids=["the definition was written", "it has no status file", "its process id was used again", "its process ended", "nothing is seen"],
)
def test_a_guest_with_other_marks_is_read_anew(marks: Marks | None) -> None:
    assert not same(known(), marks=marks)


def test_a_guest_in_another_state_or_without_marks_is_read_anew() -> None:
    assert not same(known(), state=GuestState.PAUSED)
    assert not same(known(marks=None), marks=None)


def test_a_guest_that_an_event_names_is_read_anew() -> None:
    heard = known()
    heard.hear("2", new=False)
    assert heard.ids() == ("1",)
    assert same(heard)
    heard.hear("1", new=False)
    assert not same(heard)
    assert heard.guest("1") is WEB
    heard.hear("2", new=True)
    assert heard.ids() == ("1", "2")
    assert heard.guest("2") is None


def test_every_guest_is_read_anew_after_the_connection_was_lost_and_after_a_minute() -> None:
    lost = known()
    lost.hear("", new=False)
    assert not same(lost)
    clock = Clock()
    old = known(clock=clock)
    clock.now = TRUSTED_SECONDS + 1
    assert not same(old)


def test_a_guest_that_is_equal_keeps_its_object_and_others_are_forgotten() -> None:
    seen = known()
    assert seen.keep(replace(WEB), MARKS) is WEB
    other = replace(WEB, vcpus=2)
    assert seen.keep(other, MARKS) is other
    seen.list(["2"])
    assert seen.ids() == ("2",)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFiles:
    """The files of a libvirt whose folders are both `tmp_path`, of which this process is the daemon."""
    monkeypatch.setattr(state_files, "seen_by", lambda _, path: Path(path.replace("/etc/libvirt/qemu", f"{tmp_path}/config")))
    (tmp_path / "config").mkdir()
    return StateFiles(Address(uri="qemu:///system", local=True, state_dir=str(tmp_path), config_dir="/etc/libvirt/qemu"))


def test_a_file_that_is_written_anew_is_read_again(files: StateFiles, tmp_path: Path) -> None:
    assert files.status("web") is None
    for pid in (7, 8):
        part = tmp_path / "part"
        part.write_text(f"<domstatus pid='{pid}'><vcpus/></domstatus>")
        part.rename(tmp_path / "web.xml")
        found = files.status("web")
        assert found is not None
        assert found.pid == pid
        assert files.status("web") is found
    files.keep(())
    assert files.status("web") is not found


def test_a_guest_has_marks_only_with_a_definition_that_can_be_seen(files: StateFiles, tmp_path: Path) -> None:
    assert files.marks("web", 1) is None
    (tmp_path / "config/web.xml").touch()
    stopped = files.marks("web", 1)
    assert stopped is not None
    assert (stopped.status, stopped.process) == (None, None)
    assert files.marks("web", None) is None
    (tmp_path / "web.xml").touch()
    assert files.marks("web", 1) != stopped


def test_only_the_system_s_libvirt_has_a_known_folder_of_definitions() -> None:
    assert address("qemu:///system").config_dir == "/etc/libvirt/qemu"
    assert address("qemu:///session", session_dir="/run/user/7").config_dir == address("qemu+ssh://c07/system").config_dir == ""
