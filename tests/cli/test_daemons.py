"""`pinfold watch` and `pinfold agent` execute themselves anew without Typer: the same process, its errors, and what it does not import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from pinfold.cli.daemons import AgentCommand, WatchCommand, encoded, run
from pinfold.cli.session import DAEMON_VARIABLE
from pinfold.config.fleet import FleetSettings
from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.watch.options import WatchOptions
from pinfold.watch.pools import PoolsMode

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
IMPORTED = (
    "pinfold.wiring.command",
    "pinfold.cli.daemons",
    "pinfold.config.flavors",
    "pinfold.drivers.libvirt.driver",
    "pinfold.lab.witness",
    "pinfold.watch.metrics",
    "pinfold.wiring.watch",
)
IMPORTED_BY_THE_AGENT = (
    "pinfold.wiring.command",
    "pinfold.cli.daemons",
    "pinfold.config.fleet",
    "pinfold.drivers.libvirt.driver",
    "pinfold.lab.witness",
    "pinfold.wiring.agent",
)
LINE = [sys.executable, "-m", "pinfold", "watch"]


def ended(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LINE, *words], capture_output=True, text=True, env=ENVIRONMENT | variables, timeout=120, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "watch.conf"
    path.write_text(f"[pinfold]\nstate_dir = {tmp_path / 'state'}\n")
    return path


def test_the_daemon_has_neither_typer_nor_pydantic_and_is_the_process_that_was_started(config: Path) -> None:
    line = [*LINE, "--config", str(config), "--connect", "processes:", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Watching processes: on ")
            assert process.stdout.readline().startswith("Metrics are at http://127.0.0.1:")
            proc = Path(f"/proc/{process.pid}")
            assert (proc / "comm").read_text() == "pinfold\n"
            assert (proc / "cmdline").read_text().split("\0")[1:-1] == line[1:]
            maps = (proc / "maps").read_text()
            assert "/msgspec/" in maps
            assert "pydantic" not in maps
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out, err) == (0, "", "")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("modules", "absent"),
    [(IMPORTED, {"typer", "pydantic", "rich"}), (IMPORTED_BY_THE_AGENT, {"typer", "pydantic"})],  # httpx imports Rich
    ids=["watch", "agent"],
)
def test_what_a_daemon_imports_has_neither_typer_nor_pydantic(modules: tuple[str, ...], absent: set[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(sorted({absent} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("--interval", "0"), 2, "pinfold: --interval '0' is not allowed; a number from 1 to 3600 is"),
        (("--repair", "ous"), 2, "pinfold: --repair 'ous' is not allowed; off, ours, nova or all is"),
        (("--listen", "0.0.0.0:9177"), 2, "pinfold: --listen 0.0.0.0:9177: ADDRESS:PORT on loopback"),
        (("--textfile", "/proc/metrics"), 2, "pinfold: --textfile /proc/metrics: node_exporter reads files whose names end in .prom"),
        (("--config", "/absent.conf"), 2, "pinfold: --config /absent.conf: there is no such file"),
        (("--connect", "qemu+unix:///system?socket=/absent"), 3, "pinfold: libvirt at qemu+unix:///system?socket=/absent"),
    ],
    ids=["a number", "a choice", "an address", "a file", "a configuration", "libvirt that is away"],
)
def test_an_error_at_the_start_is_one_sentence(config: Path, words: tuple[str, ...], status: int, sentence: str) -> None:
    done = ended("--config", str(config), "--connect", "processes:", *words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (status, "", 1), done.stderr
    assert done.stderr.startswith(sentence)


def test_an_error_of_the_daemon_is_one_document_with_json(config: Path) -> None:
    done = ended("--config", str(config), "--connect", "processes:", "--listen", "8.8.8.8:1", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["key"] == "listen"


def test_an_error_of_the_agent_is_one_sentence(config: Path) -> None:
    line = [sys.executable, "-m", "pinfold", "agent", "--config", str(config)]
    done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pinfold: [pinfold_agent] api_url is not set; the agent has to know its service\n"


@pytest.mark.parametrize("text", ["{", "{}", '{"command": {"type": "watch", "options": {"interval": "soon"}}}'])
def test_a_variable_that_somebody_else_set_is_refused_by_name(text: str) -> None:
    done = ended(**{DAEMON_VARIABLE: text})
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(f"pinfold: ${DAEMON_VARIABLE} is set by `pinfold watch` and `pinfold agent` alone; unset it (")


class Called:
    """Daemons that note what they are called with."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def watch(self, settings: HostSettings, options: WatchOptions, **_: Any) -> None:
        self.got.append((settings.uri, options))

    def agent(self, settings: FleetSettings, **_: Any) -> None:
        self.got.append(settings.host.uri)


def test_a_daemon_gets_every_option_as_it_was_given(config: Path) -> None:
    options = WatchOptions(
        interval=2.5, listen="unix:/w", textfile="/tmp/ü.prom", repair=RepairScope.NOVA, keep_days=3, keep_mib=4, pools=PoolsMode.APPLY
    )
    called = Called()
    assert run(encoded(WatchCommand(options=options, config=(str(config),), connect="test:///x", verbose=True, as_json=True)), called) == 0
    assert run(encoded(AgentCommand(config=(str(config),), connect="test:///y")), called) == 0
    assert called.got == [("test:///x", structs.replace(options, files=(str(config),))), "test:///y"]


@pytest.mark.parametrize("odd", [os.fsdecode(b"/tmp/\xff.prom"), "/tmp/\x1b.prom"], ids=["no UTF-8", "an escape"])
def test_a_path_that_would_not_arrive_as_it_is_is_refused(odd: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^--textfile '/tmp/.*': only printable UTF-8 text is allowed$"):
        encoded(WatchCommand(options=WatchOptions(textfile=odd)))
