"""The wheel, installed as a user installs it: alone and with each extra, each time into a fresh environment.

Versions are those of the lock file, so that a run today and a run next year install the same; which packages are needed is decided by the
wheel's own metadata. uv installs, which links what this machine has already unpacked once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS = r"pip install 'pinfold\[{}\] @ file://\S+\.whl'\n$"
"""How a command ends that needs an extra; it was installed from that file, so no index has to have it."""
EXTRAS = ("", "watch", "agent", "fleet")
COMMANDS = (
    "guest",
    "fit",
    "host",
    "audit",
    "repair",
    "doctor",
    "up",
    "server",
    "flavor",
    "api",
    "agent",
    "nova",
    "watch",
    "history",
    "config",
    "lab",
    "version",
)

_EVERY_HELP = """
import sys
from pinfold.wiring.command import main
for words in ((), *((command,) for command in {commands})):
    sys.argv = ["pinfold", *words, "--help"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
    print(chr(12), end="", flush=True)
"""
"""A program that prints the help of pinfold and of each command, with a form feed behind each. One process imports them all once."""

pytestmark = [pytest.mark.installs, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment that has pinfold."""

    folder: Path

    @property
    def pinfold(self) -> str:
        """The path of its command."""
        return str(self.folder / "venv/bin/pinfold")

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run its command with nothing of this process's own Python, cloud or configuration around."""
        return subprocess.run(
            [self.pinfold, *arguments], capture_output=True, text=True, check=False, cwd=self.folder, env=_around(variables), timeout=300
        )

    def python(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run a program with its Python, with nothing of this process's own around."""
        command = [str(self.folder / "venv/bin/python"), "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, env=_around({}), timeout=300)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start its command in the same way, with its output in a pipe."""
        return subprocess.Popen([self.pinfold, *arguments], stdout=subprocess.PIPE, text=True, cwd=self.folder, env=_around(variables))


def _around(variables: dict[str, str]) -> dict[str, str]:
    """The environment of a command: nothing of this process's own Python, cloud or configuration, and these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_", "PINFOLD"))}
    return kept | {"COLUMNS": "200"} | variables


Install = Callable[[str], Environment]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    _uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def fetched(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What any of the environments needs lies in uv's cache, built where it has to be built."""
    _install(tmp_path_factory.mktemp("fetched"), f"{wheel}[{','.join(filter(None, EXTRAS))}]")


@pytest.fixture(scope="module")
def environment(wheel: Path, fetched: None, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes a fresh environment with the wheel and an extra, '' for none, once for all tests."""
    made: dict[str, Environment] = {}

    def install(extra: str) -> Environment:
        if extra not in made:
            folder = tmp_path_factory.mktemp(f"environment-{extra or 'base'}")
            _install(folder, f"{wheel}[{extra}]" if extra else str(wheel), "--offline")
            made[extra] = Environment(folder)
        return made[extra]

    return install


def _install(folder: Path, wanted: str, *options: str) -> None:
    """Make an environment in `folder` that has what is wanted, in the versions of the lock file."""
    _uv("venv", "--python", sys.executable, str(folder / "venv"))
    constraints = folder / "constraints.txt"
    pins = re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins))
    _uv("pip", "install", *options, "--python", str(folder / "venv/bin/python"), "--constraint", str(constraints), wanted)


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *arguments, "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.parametrize("extra", EXTRAS)
def test_help_of_every_command_is_shown(environment: Install, extra: str) -> None:
    ended = environment(extra).python(_EVERY_HELP.format(commands=COMMANDS))
    assert ended.returncode == 0, ended.stderr
    whole, *helped = ended.stdout.split("\f")[:-1]
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", whole)
    assert len(helped) == len(COMMANDS)
    for command, text in zip(COMMANDS, helped, strict=True):
        assert f"Usage: pinfold {command}" in text


def test_a_typo_is_answered_with_the_command_that_was_meant(environment: Install) -> None:
    ended = environment("").run("aduit")
    assert (ended.returncode, ended.stderr) == (2, "pinfold: No such command 'aduit'. Did you mean 'audit'?; see 'pinfold --help'\n")


@pytest.mark.parametrize("command", ["up", "api", "server list", "server show x", "flavor list"])
def test_without_the_extra_a_command_of_the_service_says_what_to_install(environment: Install, command: str) -> None:
    ended = environment("").run(*command.split())
    assert ended.returncode == 3
    assert re.search(NEEDS.format("fleet"), ended.stderr), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_without_an_extra_a_host_is_used_from_fit_to_audit(environment: Install, lab_possible: None) -> None:
    pinfold = environment("").run
    fitted = pinfold("fit", "--host-text", "core:4", "--vcpus", "1", "--ram", "64")
    assert fitted.returncode == 0, fitted.stderr
    name = f"wheel-{os.getpid()}"
    lab = json.loads(pinfold("lab", "up", name, "--json").stdout)["labs"][0]
    try:
        host = {"PINFOLD_CONFIG": lab["config"]}
        for command in (
            f"guest start db1 --flavor share --rom {lab['rom']}",
            "guest show db1",
            "guest list",
            "host map",
            "audit",
            "repair",
            "guest stop db1 --remove",
        ):
            ended = pinfold(*command.split(), **host)
            assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    finally:
        assert pinfold("lab", "down", name).returncode == 0


def test_without_the_extra_a_watch_says_in_one_sentence_what_metrics_need(environment: Install) -> None:
    ended = environment("").run("watch", "--once", "--connect", "processes:")
    assert ended.returncode == 3
    assert re.search(NEEDS.format("watch"), ended.stderr), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_watch_extra_is_all_that_a_watch_needs_to_serve_metrics(environment: Install, lab_possible: None) -> None:
    pinfold = environment("watch").run
    name = f"wheel-{os.getpid()}-watch"
    lab = json.loads(pinfold("lab", "up", name, "--json").stdout)["labs"][0]
    path = environment("watch").folder / "metrics.sock"
    try:
        host = {"PINFOLD_CONFIG": lab["config"]}
        once = pinfold("watch", "--once", **host)
        assert once.returncode == 0, once.stderr
        assert "\npinfold_watch_info{" in once.stdout
        serving = environment("watch").start("watch", "--listen", f"unix:{path}", "--json", **host)
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline() == "{\n"  # it is ready after the first sweep
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(60)
                connection.connect(str(path))
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                with connection.makefile() as answer:
                    assert "\npinfold_watch_info{" in answer.read()
        finally:
            serving.send_signal(signal.SIGINT)
            assert serving.wait(120) == 0
    finally:
        assert pinfold("lab", "down", name).returncode == 0


def test_the_agent_extra_is_all_that_an_agent_imports(environment: Install) -> None:
    ended = environment("agent").run("agent")
    assert (ended.returncode, ended.stderr) == (2, "pinfold: [pinfold_agent] api_url is not set; the agent has to know its service\n")


def test_the_fleet_extra_runs_the_service_and_the_agent_extra_talks_to_it(environment: Install, lab_possible: None) -> None:
    fleet = environment("fleet")
    up = subprocess.Popen([fleet.pinfold, "up", "--lab", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, cwd=fleet.folder)
    try:
        assert up.stdout is not None
        text = ""
        while not text.endswith("}\n") and (line := up.stdout.readline()):
            text += line
        told = json.loads(text)
        access = {"OS_CLIENT_CONFIG_FILE": told["clouds_file"], "OS_CLOUD": "pinfold"}
        pinfold = environment("agent").run
        for command in (
            "flavor create one --vcpus 1 --ram 64 -p hw:cpu_policy=dedicated",
            "server create vm1 --flavor one --image probe --wait",
            "server delete vm1",
        ):
            ended = pinfold(*command.split(), **access)
            assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 0
