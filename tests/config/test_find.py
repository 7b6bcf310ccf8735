"""Which files are read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfold.config.find import find_files
from pinfold.config.sample import sample
from pinfold.core.errors import InvalidRequest


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("pinfold.conf", "nova.conf", "named.conf", "other.conf"):
        (tmp_path / name).write_text("[compute]\ncpu_shared_set = 0\n")
    return tmp_path


def _find(etc: Path, *named: str, environ: dict[str, str] | None = None, nova: bool = True) -> list[str]:
    found = find_files(named, environ or {}, nova=nova, own_file=str(etc / "pinfold.conf"), nova_file=str(etc / "nova.conf"))
    return [Path(file).name for file in found]


def test_named_files_come_alone_and_in_their_order(etc: Path) -> None:
    environ = {"PINFOLD_CONFIG": str(etc / "other.conf")}
    assert _find(etc, str(etc / "other.conf"), str(etc / "named.conf"), environ=environ) == ["other.conf", "named.conf"]


def test_the_environment_names_files_separated_by_colons(etc: Path) -> None:
    assert _find(etc, environ={"PINFOLD_CONFIG": f"{etc}/named.conf:{etc}/other.conf"}) == ["named.conf", "other.conf"]


def test_our_own_file_comes_before_novas(etc: Path) -> None:
    assert _find(etc) == ["pinfold.conf"]


def test_novas_file_is_found_by_commands_that_only_look(etc: Path) -> None:
    (etc / "pinfold.conf").unlink()
    assert _find(etc, nova=True) == ["nova.conf"]
    assert _find(etc, nova=False) == []


def test_a_file_of_ours_that_sets_nothing_does_not_hide_novas(etc: Path) -> None:
    (etc / "pinfold.conf").write_text(sample())
    assert _find(etc, nova=True) == ["nova.conf"]
    assert _find(etc, nova=False) == ["pinfold.conf"]


def test_without_nova_a_file_that_sets_nothing_is_read_so_that_its_change_is_noticed(etc: Path) -> None:
    (etc / "pinfold.conf").write_text(sample())
    (etc / "nova.conf").unlink()
    assert _find(etc, nova=True) == ["pinfold.conf"]


def test_a_folder_that_sets_something_makes_its_file_count(etc: Path) -> None:
    (etc / "pinfold.conf").write_text("# nothing\n")
    (etc / "pinfold.conf.d").mkdir()
    (etc / "pinfold.conf.d" / "pools.conf").write_text("[compute]\ncpu_shared_set = 0\n")
    assert _find(etc, nova=True) == ["pinfold.conf", "pools.conf"]


def test_no_file_at_all_means_the_defaults(tmp_path: Path) -> None:
    assert _find(tmp_path) == []


def test_the_current_folder_is_not_searched(etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(etc)
    assert find_files((), {}, nova=True, own_file="/nonexistent/pinfold.conf", nova_file="/nonexistent/nova.conf") == ()


def test_the_folder_beside_a_file_is_read_by_name(etc: Path) -> None:
    (etc / "pinfold.conf.d").mkdir()
    for name in ("20-b.conf", "10-a.conf", "README"):
        (etc / "pinfold.conf.d" / name).write_text("[compute]\n")
    assert _find(etc) == ["pinfold.conf", "10-a.conf", "20-b.conf"]


def test_a_named_file_that_is_not_there_is_refused(etc: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"--config .*absent.conf: there is no such file"):
        _find(etc, str(etc / "absent.conf"))
    with pytest.raises(InvalidRequest, match=r"\$PINFOLD_CONFIG .*absent.conf: there is no such file"):
        _find(etc, environ={"PINFOLD_CONFIG": str(etc / "absent.conf")})


AS_NOBODY = """
import contextlib, io, os, sys
from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.config import find
find.find_files.__kwdefaults__.update(own_file=sys.argv[1], nova_file=sys.argv[2])
os.environ.pop("PINFOLD_CONFIG", None)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(["config", "check", "--offline", os.devnull], Parts(open_driver=None))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(["config", "check", "--offline", *sys.argv[3:]], Parts(open_driver=None)))
"""
"""All is imported by root, whose Python another user may not be able to read."""


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that everybody can read, with `nova/nova.conf` in a folder that only root may enter."""
    with tempfile.TemporaryDirectory(prefix="pf-etc-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "nova").mkdir(mode=0o700)
        (Path(folder) / "nova" / "nova.conf").write_text("[compute]\ncpu_shared_set = 0\n")
        yield Path(folder)


def _as_nobody(folder: Path, *words: str) -> tuple[int, str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-c", AS_NOBODY, str(folder / "pinfold.conf"), str(folder / "nova" / "nova.conf"), *words]
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "400"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_in_a_folder_that_the_user_may_not_enter_is_refused_named_or_not(locked: Path) -> None:
    nova = locked / "nova" / "nova.conf"
    status, _, err = _as_nobody(locked, str(nova))
    assert (status, err) == (2, f"pinfold: --config {nova} cannot be read: Permission denied\n")
    status, _, err = _as_nobody(locked)
    assert (status, err) == (2, f"pinfold: configuration file {nova} cannot be read: Permission denied\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_nobody_looks_into_novas_folder_if_our_own_file_sets_something(locked: Path) -> None:
    (locked / "pinfold.conf").write_text("[compute]\ncpu_shared_set = 0\n")
    status, out, err = _as_nobody(locked)
    assert (status, err) == (0, "") and f"read {locked / 'pinfold.conf'}" in out


def test_a_usual_place_below_a_file_is_no_place(etc: Path) -> None:
    found = find_files((), {}, nova=True, own_file=str(etc / "nova.conf" / "pinfold.conf"), nova_file=str(etc / "nova.conf"))
    assert found == (str(etc / "nova.conf"),)
