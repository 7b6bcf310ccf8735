"""`bin/setup` while it installs packages: what it does to the machine's own policy for starting services, however it ends.

The script is the real one, in a mount namespace whose /usr/sbin is empty. `apt-get` and `dpkg-query` are stand-ins: one waits until the
test lets it go, the other knows no package, so that there always is something to install.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "bin" / "setup"
POLICY = "/usr/sbin/policy-rc.d"
NOT_NOW = 101

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace is made as root")


@dataclass
class Machine:
    """A mount namespace with an empty /usr/sbin, and clones whose `bin/setup` runs in it."""

    folder: Path
    keeper: subprocess.Popen[bytes]
    runs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, clone: str) -> subprocess.Popen[bytes]:
        """Start `bin/setup` in a clone of that name."""
        place = self.folder / clone
        if not place.exists():
            (place / "bin").mkdir(parents=True)
            shutil.copy(SETUP, place / "bin" / "setup")
        path = f"{self.folder / 'programs'}:/usr/bin:/bin"
        command = [
            "nsenter",
            "-m",
            "-t",
            str(self.keeper.pid),
            "env",
            "--default-signal=HUP,INT,TERM",
            f"PATH={path}",
            f"CLONE={clone}",
            str(place / "bin" / "setup"),
        ]
        with (self.folder / f"{clone}.log").open("ab") as log:
            run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        self.runs.append(run)
        return run

    def log(self, clone: str) -> str:
        """What that clone's runs printed."""
        return (self.folder / f"{clone}.log").read_text()

    def installing(self, clone: str) -> bool:
        """Whether apt-get runs for that clone."""
        return (self.folder / f"{clone}.installing").exists()

    def finish(self, clone: str) -> None:
        """Let that clone's apt-get end."""
        (self.folder / f"{clone}.go").touch()

    def policy(self) -> str | None:
        """The policy's text, None where there is none."""
        read = self._inside("cat", POLICY)
        return read.stdout.decode() if read.returncode == 0 else None

    def ask(self) -> int:
        """What the policy answers, as invoke-rc.d asks it."""
        return self._inside(POLICY, "libvirtd", "start").returncode

    def write_policy(self, text: str) -> None:
        """Put somebody else's policy in place."""
        self._inside("sh", "-c", f"printf '%s' '{text}' > {POLICY} && chmod 755 {POLICY}")

    def _inside(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["nsenter", "-m", "-t", str(self.keeper.pid), *command], capture_output=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (programs / "apt-get").write_text(
        f'#!/bin/sh\n[ "$1" != update ] || exit 0\ntouch {tmp_path}/$CLONE.installing\n'
        f"tries=0\nwhile [ ! -e {tmp_path}/$CLONE.go ] && [ $tries -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done\n"
        f"{POLICY} libvirtd start\necho policy answered $?\n exit 1\n"
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    keeper = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /usr/sbin && echo ready && exec sleep 300"], stdout=subprocess.PIPE
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == b"ready\n"
    made = Machine(tmp_path, keeper)
    try:
        yield made
    finally:
        for run in made.runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        keeper.kill()
        keeper.wait()


def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not become true within 30 seconds")


def test_its_options_are_explained_and_others_refused_in_a_sentence() -> None:
    helped = subprocess.run([str(SETUP), "--service", "--help"], capture_output=True, text=True, check=False)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("Usage: bin/setup [--service] [--tests]")
    wrong = subprocess.run([str(SETUP), "--service", "--test"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "setup: '--test' is not an option; --service, --tests and --help are\n"


def test_no_service_is_started_while_packages_are_installed(machine: Machine) -> None:
    machine.start("one")
    until(lambda: machine.installing("one"))
    assert machine.ask() == NOT_NOW


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_by_a_signal_leaves_no_policy(machine: Machine, number: signal.Signals) -> None:
    run = machine.start("one")
    until(lambda: machine.installing("one"))
    os.killpg(run.pid, number)
    assert run.wait(timeout=30) == 128 + number
    assert machine.policy() is None


def test_a_run_that_is_killed_leaves_a_policy_that_allows_everything_and_removes_itself(machine: Machine) -> None:
    run = machine.start("one")
    until(lambda: machine.installing("one"))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert machine.ask() == 0
    assert machine.policy() is None


def test_the_next_run_replaces_the_policy_of_one_that_was_killed(machine: Machine) -> None:
    killed = machine.start("one")
    until(lambda: machine.installing("one"))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    left = machine.policy()
    (machine.folder / "one.installing").unlink()
    run = machine.start("one")
    until(lambda: machine.installing("one"))
    assert machine.policy() not in (None, left)
    assert machine.ask() == NOT_NOW
    os.killpg(run.pid, signal.SIGTERM)
    run.wait()
    assert machine.policy() is None


def test_of_two_at_once_one_waits_for_the_other_and_each_holds_services_back(machine: Machine) -> None:
    first = machine.start("one")
    until(lambda: machine.installing("one"))
    second = machine.start("two")
    until(lambda: "waiting" in machine.log("two"))
    assert not machine.installing("two")
    os.killpg(first.pid, signal.SIGTERM)
    first.wait()
    until(lambda: machine.installing("two"))
    assert machine.ask() == NOT_NOW
    os.killpg(second.pid, signal.SIGTERM)
    second.wait()
    assert machine.policy() is None


def test_a_policy_of_somebody_else_stays_as_it_is(machine: Machine) -> None:
    theirs = "#!/bin/sh\nexit 101\n"
    machine.write_policy(theirs)
    run = machine.start("one")
    until(lambda: machine.installing("one"))
    assert machine.policy() == theirs
    os.killpg(run.pid, signal.SIGTERM)
    run.wait()
    assert machine.policy() == theirs


def test_progress_is_the_last_line_that_is_no_warning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Collecting rich\nWARNING: Location of the cache is not writable\n  warning: something else\n")
    told = _run(_function("progress_of") + 'progress_of "$1"', str(log))
    assert told == "Collecting rich\n"


def test_uv_is_told_of_the_certificates_that_pip_is_configured_with(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\ncert = /etc/$HOME/`id`.pem\n")
    assert _told_to_uv(tmp_path / "pip.conf") == "/etc/$HOME/`id`.pem"


def test_what_pip_is_told_by_its_environment_comes_before_its_files(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\ncert = /far.pem\n")
    assert _told_to_uv(tmp_path / "pip.conf", PIP_CERT="/near.pem") == "/near.pem"


def test_what_uv_was_told_by_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\ncert = /far.pem\n")
    assert _told_to_uv(tmp_path / "pip.conf", UV_ANYTHING="/own.pem") == "/own.pem"


def test_where_pip_has_no_settings_uv_gets_none() -> None:
    assert _told_to_uv(Path(os.devnull)) == "unset"


def _told_to_uv(configuration: Path, **variables: str) -> str:
    """What a variable of uv holds after the set-up has asked pip for its certificates."""
    functions = (_function("pip") + _function("tell_uv")).replace(".venv/bin/python", sys.executable)
    script = f'set -eu\n{functions}tell_uv UV_ANYTHING cert\nprintf %s "${{UV_ANYTHING-unset}}"'
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return _run(script, **kept, **variables, PIP_CONFIG_FILE=str(configuration))


def _function(name: str) -> str:
    """The text of one function of the script."""
    return subprocess.run(["sed", "-n", f"/^{name}()/,/^}}/p", str(SETUP)], capture_output=True, text=True, check=True).stdout


def _run(script: str, *arguments: str, **variables: str) -> str:
    command = ["sh", "-c", script, "sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=variables or None).stdout
