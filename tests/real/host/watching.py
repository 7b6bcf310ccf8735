"""`pinfold watch` as a process of its own, beside a lab host, and what its metrics say."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.real.patience import until
from tests.rig import loaded

UNIT = Path(__file__).parents[3] / "deb/units/pinfold-watch.service"


@dataclass(frozen=True, kw_only=True)
class Watching:
    """A running watch: its process, its configuration file and its socket."""

    process: subprocess.Popen[str]
    config: Path
    path: Path

    def text(self) -> str:
        """What `/metrics` says now, '' before it is there."""
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.settimeout(60)
            connection.connect(str(self.path))
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            found = b""
            while more := connection.recv(65536):
                found += more
            return found.partition(b"\r\n\r\n")[2].decode()
        return ""

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of a metric's series with these labels."""
        assert self.process.poll() is None, "the watch has ended"
        return [
            sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def until_value(self, name: str, at_least: float = 1.0, **labels: str) -> None:
        """Wait until a series with these labels has that value."""
        until(lambda: any(value >= at_least for value in self.values(name, **labels)), f"{name} {labels} is {at_least}")

    def until_none(self, name: str, **labels: str) -> None:
        """Wait until no such series is there."""
        until(lambda: self.text() and not self.values(name, **labels), f"{name} {labels} is gone")


def pinfold(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command of pinfold's with that configuration."""
    return loaded.run("pinfold", [*words, "--config", str(config)], loaded.importing() | {"COLUMNS": "160"})


def _confined() -> list[str]:
    """The beginning of a command that gives up all that the unit gives up of root's capabilities."""
    (kept,) = re.findall(r"^CapabilityBoundingSet=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    names = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in kept.split())
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,{names}", "--inh-caps=-all"]


@contextlib.contextmanager
def watching(folder: Path, uri: str, *options: str, interval: int = 1, flavors: Path | None = None) -> Iterator[Watching]:
    """A watch of the hypervisor at `uri`, with pCPU 0 shared and pCPU 1 dedicated, until the block ends; it must end well."""
    config, path = folder / "watch.conf", folder / "w"
    config.write_text(
        f"[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n[libvirt]\nconnection_uri = {uri}\n"
        f"[pinfold]\nstate_dir = {folder / 'state'}\n{f'flavors_file = {flavors}' if flavors else ''}\n"
    )
    line = [sys.executable, "-m", "pinfold", "watch", "--config", str(config), "--listen", f"unix:{path}", "--interval", str(interval)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*_confined(), *line, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            one = Watching(process=process, config=config, path=path)
            until(lambda: process.poll() is not None or "pinfold_last_sweep_timestamp_seconds 1" in one.text(), "it has swept")
            assert "pydantic" not in Path(f"/proc/{process.pid}/maps").read_text()
            yield one
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors, errors
        finally:
            process.kill()
