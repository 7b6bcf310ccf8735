"""The host's lock and the mark of its owner, on real files and between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pinfold
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.settings import HostSettings
from pinfold.host.lock import give_up_ownership, host_key, host_lock, owner, owning, refuse_if_owned, take_ownership

ENV = {**os.environ, "PYTHONPATH": str(Path(pinfold.__file__).parents[1])}
HOLD = """
import sys
from pinfold.core.settings import HostSettings
from pinfold.host.lock import host_lock
with host_lock(HostSettings(state_dir=sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    settings = HostSettings(state_dir=str(tmp_path / "state"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.state_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Unavailable, match=f"process {holder.pid} has held"), host_lock(settings, wait_seconds=0.1):
            pass
        other = HostSettings(state_dir=settings.state_dir, uri="qemu+unix:///system?socket=/elsewhere")
        with host_lock(other, wait_seconds=0.1):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with host_lock(settings, wait_seconds=120):
        pass


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InvalidRequest, match="file/state cannot be made"),
        host_lock(HostSettings(state_dir=str(tmp_path / "file" / "state"))),
    ):
        pass


def test_an_owned_host_names_its_owner(tmp_path: Path) -> None:
    settings = HostSettings(state_dir=str(tmp_path))
    refuse_if_owned(settings, "guest start")
    take_ownership(settings, "the agent of c07")
    take_ownership(settings, "the agent of c07")
    assert owner(settings) == "the agent of c07"
    with pytest.raises(InvalidRequest, match=r"guest start is refused: .* is owned by the agent of c07"):
        refuse_if_owned(settings, "guest start")
    with pytest.raises(InvalidRequest, match="owned by the agent of c07, not by another"):
        take_ownership(settings, "another")
    give_up_ownership(settings)
    give_up_ownership(settings)
    refuse_if_owned(settings, "guest start")


def _fail_as_the_agent(settings: HostSettings) -> None:
    with owning(settings, "agent c1"):
        assert owner(settings) == "agent c1"
        raise Unavailable("libvirt cannot be reached")


def test_a_host_is_owned_until_the_block_ends_however_it_ends(tmp_path: Path) -> None:
    settings = HostSettings(state_dir=str(tmp_path))
    with pytest.raises(Unavailable):
        _fail_as_the_agent(settings)
    assert owner(settings) == ""
    with owning(settings, "agent c1"), pytest.raises(Conflict, match=f"process {os.getpid()} is the agent"), owning(settings, "agent c1"):
        raise AssertionError("two agents own one host")
    assert owner(settings) == ""


def test_the_mark_of_another_agent_is_not_taken_away(tmp_path: Path) -> None:
    settings = HostSettings(state_dir=str(tmp_path))
    take_ownership(settings, "agent c2")
    with pytest.raises(InvalidRequest, match="owned by agent c2"), owning(settings, "agent c1"):
        raise AssertionError("an owned host was taken")
    assert owner(settings) == "agent c2"


@pytest.mark.parametrize("kind", ["owner", "agent", "lock"])
def test_a_file_of_the_state_directory_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    settings = HostSettings(state_dir=str(tmp_path))
    (tmp_path / f"host-{host_key(settings)}.{kind}").mkdir()
    with pytest.raises(InvalidRequest, match=rf"host-[0-9a-f]+\.{kind} cannot be"), owning(settings, "agent c1"), host_lock(settings):
        raise AssertionError("a folder was taken for a file")
