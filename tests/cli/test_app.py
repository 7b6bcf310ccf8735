"""The frame of the command line: help, errors, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold

from pinfold.cli import version as version_module
from pinfold.cli.app import COMMANDS
from pinfold.core.errors import Conflict, InvariantViolation, PinfoldError


def test_help_lists_every_command_in_order(pinfold: Pinfold) -> None:
    answer = pinfold("--help")
    assert answer.status == 0
    places = [answer.out.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_flags_are_shown_without_a_type_and_optional_arguments_in_one_bracket(pinfold: Pinfold) -> None:
    for argv in (("--help",), ("fit", "--help"), ("guest", "stop", "--help")):
        assert "<bool>" not in pinfold(*argv).out
    assert "[OPTIONS] [FLAVOR] " in pinfold("fit", "--help").out


def test_a_bare_command_and_a_bare_group_show_their_help(pinfold: Pinfold) -> None:
    for argv in ((), ("guest",)):
        answer = pinfold(*argv)
        assert "Usage: pinfold" in answer.out + answer.err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("dokter",), "pinfold: No such command 'dokter'. Did you mean 'doctor'?; see 'pinfold --help'\n"),
        (("version", "--jsn"), "No such option: --jsn"),
        (("guest", "show"), "Missing argument 'NAME'; see 'pinfold guest show --help'\n"),
    ],
)
def test_a_slip_of_usage_is_one_sentence_and_status_2(pinfold: Pinfold, argv: tuple[str, ...], sentence: str) -> None:
    answer = pinfold(*argv)
    assert answer.status == 2
    assert answer.out == ""
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


def test_errors_are_one_json_document_on_standard_error_with_json(pinfold: Pinfold) -> None:
    answer = pinfold("guest", "list", "--json")
    assert answer.status == 3
    assert answer.out == ""
    error = json.loads(answer.err)["error"]
    assert error["kind"] == "unavailable"
    assert error["status"] == 3
    usage = pinfold("guest", "show", "--json")
    assert json.loads(usage.err)["error"]["kind"] == "usage"


class _NotPlaced(PinfoldError):
    """An error that has no exit status."""


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [(Conflict("x"), "conflict", 4), (InvariantViolation("x"), "invariant-violation", 70), (_NotPlaced("x"), "_-not-placed", 1)],
)
def test_every_error_of_ours_has_its_status(
    pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, status: int
) -> None:
    def fail(_document: object) -> None:
        raise error

    monkeypatch.setattr(version_module, "show_json", fail)
    answer = pinfold("version", "--json")
    assert answer.status == status
    assert json.loads(answer.err)["error"]["kind"] == kind


def test_a_bug_is_one_sentence_that_names_the_file_with_the_traceback(
    pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_lines: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(version_module, "show", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = pinfold("version")
    (kept,) = tmp_path.glob("pinfold-error-*.txt")
    assert answer.status == 70
    assert answer.err == f"pinfold: internal error: KeyError: 'oops'; the traceback is in {kept}, please report it\n"
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_ctrl_c_is_no_traceback(pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_lines: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(version_module, "show", interrupt)
    answer = pinfold("version")
    assert answer.status == 130
    assert "Traceback" not in answer.err


def test_a_command_does_not_import_what_others_need() -> None:
    heavy = ("oslo_config", "libvirt", "pinfold.host", "pinfold.lab")
    probe = f"""import sys
from pinfold.cli.app import run
from pinfold.cli.session import Parts
status = run(["version"], Parts(open_driver=None))
print(status, [n for n in {heavy} if n in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def _command(*argv: str, stdout: object = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "pinfold", *argv],
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)} | environment,
    )
    return done


def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = _command("config", "sample", stdout=full)
    assert done.returncode == 3
    assert done.stderr == "pinfold: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("argv", [("config", "sample"), ("--help",), ("fit", "--help")], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(argv: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as pipe:
        done = _command(*argv, stdout=pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("fit", "--vcpus", "x"), "--vcpus 'x' is not allowed; a whole number of at least 1 is; see 'pinfold fit --help'"),
        (("fit", "--vcpus", "0"), "--vcpus '0' is not allowed; a whole number of at least 1 is; see 'pinfold fit --help'"),
        (("fit", "--ram", "1.5"), "--ram '1.5' is not allowed; a whole number of at least 1 is; see 'pinfold fit --help'"),
        (("up", "--port", "70000"), "--port '70000' is not allowed; a whole number from 0 to 65535 is; see 'pinfold up --help'"),
        (
            ("lab", "up", "a", "--hosts", "x" * 90),
            f"--hosts '{'x' * 59}…' is not allowed; a whole number from 1 to 16 is; see 'pinfold lab up --help'",
        ),
        (
            ("guest", "stop", "a", "--graceful", "soon"),
            "--graceful 'soon' is not allowed; a number of at least 0 is; see 'pinfold guest stop --help'",
        ),
    ],
)
def test_a_bad_number_is_named_with_what_is_allowed(pinfold: Pinfold, argv: tuple[str, ...], sentence: str) -> None:
    answer = pinfold(*argv)
    assert (answer.status, answer.err) == (2, f"pinfold: {sentence}\n")


def test_an_encoding_without_signs_is_no_error() -> None:
    done = _command("config", "check", "--offline", PYTHONIOENCODING="ascii", PINFOLD_CONFIG="")
    assert done.returncode == 0
    assert "v nothing found" in done.stdout


def test_good_and_bad_can_be_told_apart_in_an_encoding_without_signs() -> None:
    host = {"PINFOLD_CONFIG": "", "PYTHONIOENCODING": "ascii"}
    done = _command("doctor", "-c", "qemu+unix:///system?socket=/nonexistent", **host)
    signs = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert {"v", "x"} <= signs <= {"v", "x", "o", "."}


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -o default -F"), ("zsh", "#compdef pinfold"), ("fish", "complete --command pinfold")]
)
def test_completion_is_printed_for_each_shell(shell: str, says: str) -> None:
    done = _command(_PINFOLD_COMPLETE=f"source_{shell}")
    assert says in done.stdout
    assert done.stderr == ""


def test_completion_knows_every_command() -> None:
    done = _command(_PINFOLD_COMPLETE="complete_bash", COMP_WORDS="pinfold guest st", COMP_CWORD="2")
    assert done.stdout.split() == ["start", "stop"]


def test_the_version_is_an_option_too(pinfold: Pinfold) -> None:
    answer = pinfold("--version")
    assert (answer.status, answer.out, answer.err) == (0, pinfold("version").out, "")
