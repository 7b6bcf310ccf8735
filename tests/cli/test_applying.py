"""The command that a dry run prints: typed as it is, it reads the files that were read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from tests.cli.conftest import Pinfold

from pinfold.cli.session import Parts, applying, read_configuration
from pinfold.config import find


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual places of both files, with Nova's alone in it, and a folder beside that."""
    for name, text in (("nova.conf", "cpu_shared_set = 0"), ("nova.conf.d/a.conf", "cpu_dedicated_set = 1"), ("other name.conf", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"[compute]\n{text}\n")
    for option, name in (("own_file", "pinfold.conf"), ("nova_file", "nova.conf")):
        monkeypatch.setitem(find.find_files.__kwdefaults__, option, str(tmp_path / name))
    monkeypatch.delenv("PINFOLD_CONFIG", raising=False)
    return tmp_path


def printed(*typed: str, named: list[str] | None = None) -> list[str]:
    """The words of the command that a dry run prints that was typed so."""
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)), obj=Parts(open_driver=None, typed=typed))  # type: ignore[arg-type]
    context.params["config"] = named
    return shlex.split(applying(context, read_configuration(named, None, only_looks=True, quiet=True)))


def test_novas_file_is_named_once_for_all_its_parts(etc: Path) -> None:
    assert printed("host", "pools") == ["pinfold", "host", "pools", "--config", str(etc / "nova.conf"), "--apply"]


def test_what_was_typed_is_not_named_again(etc: Path) -> None:
    file = str(etc / "other name.conf")
    assert printed("host", "pools", "--config", file, named=[file]) == ["pinfold", "host", "pools", "--config", file, "--apply"]


def test_files_that_the_command_finds_itself_are_not_named(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = ["pinfold", "host", "pools", "--apply"]
    (etc / "pinfold.conf").write_text("[compute]\ncpu_shared_set = 0\n")
    assert printed("host", "pools") == short
    (etc / "pinfold.conf").write_text("# nothing\n")
    assert printed("host", "pools") != short, "the command would find a file that sets nothing, and not Nova's"
    (etc / "nova.conf").unlink()
    assert printed("host", "pools") == short
    monkeypatch.setenv("PINFOLD_CONFIG", str(etc / "other name.conf"))
    assert printed("host", "pools") == short


@pytest.mark.parametrize(
    ("own", "nova", "said"),
    [
        (
            None,
            True,
            "there is no configuration file, and guests would leave the pools that they are on; NOVA is read only by name: --config NOVA",
        ),
        ("# nothing\n", True, "OWN sets none, and guests would leave the pools that they are on; NOVA is read only by name: --config NOVA"),
        (None, False, "there is no configuration file, and guests would leave the pools that they are on; name the file that has them"),
        ("# nothing\n", False, "OWN sets none, and guests would leave the pools that they are on; name the file that has them"),
    ],
    ids=["only Nova's", "Nova's and a sample", "none", "a sample"],
)
def test_host_pools_moves_nothing_where_nobody_set_pools(
    pinfold: Pinfold, etc: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, nova: bool, said: str
) -> None:
    monkeypatch.delenv("PINFOLD_CONFIG", raising=False)
    if own is not None:
        (etc / "pinfold.conf").write_text(own)
    if not nova:
        (etc / "nova.conf").unlink()
    answer = pinfold("host", "pools", "--apply")
    assert answer.status == 2
    words = said.replace("OWN", str(etc / "pinfold.conf")).replace("NOVA", str(etc / "nova.conf"))
    assert words in " ".join(answer.err.split())


def test_a_named_file_without_pools_is_taken_at_its_word(pinfold: Pinfold, etc: Path) -> None:
    answer = pinfold("host", "pools", "--apply", "--config", str(etc / "other name.conf"))
    assert answer.status == 3 and "cannot be reached" in answer.err, "the hypervisor is asked"
