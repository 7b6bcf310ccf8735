"""QEMU started by hand, as somebody without libvirt starts it: named for each test, on an empty machine or the lab's probe, ended by id."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.real.patience import until
from tests.rig import loaded

from pinfold.lab import rom

QEMU = shutil.which("qemu-system-x86_64") or ""
KINDS = ("kvm", "tcg")


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One QEMU: its process, its guest's name, its id or '', and the path of its monitor or ''."""

    process: subprocess.Popen[bytes]
    pid: int
    name: str
    id: str
    socket: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Starts QEMU and runs pinfold against this machine's processes. pCPU 0 is shared and pCPU 1 dedicated."""

    folder: Path
    running: list[Hand]

    def start(
        self,
        kind: str,
        *more: str,
        vcpus: int = 2,
        monitor: bool = True,
        names: bool = True,
        paused: bool = True,
        before: tuple[str, ...] = (),
    ) -> Hand:
        """A QEMU with these options beside its own. `before` is a command that starts it, such as `unshare`."""
        guest = uuid.uuid4()
        name, socket = f"hand-{guest.hex[:8]}", str(self.folder / "sockets" / f"{guest.hex[:8]}.qmp")
        words = [QEMU, "-accel", kind, "-name", f"guest={name},debug-threads={'on' if names else 'off'}", "-uuid", str(guest)]
        words += ["-smp", str(vcpus), "-m", "16", "-display", "none", "-nodefaults", "-vga", "none", *(["-S"] if paused else []), *more]
        words += ["-bios", str(rom.write(self.folder / "probe.rom"))]
        words += ["-qmp", f"unix:{socket},server=on,wait=off"] if monitor else []
        process = subprocess.Popen([*before, *words], stdout=subprocess.DEVNULL)
        pid = process.pid if not before else _child(process.pid)
        hand = Hand(process=process, pid=pid, name=name, id=str(guest), socket=socket if monitor else "")
        self.running.append(hand)
        until(lambda: _threads(pid) > vcpus and (not monitor or os.path.exists(f"/proc/{pid}/root{socket}")), f"{name} has its threads")
        return hand

    def pinfold(self, *words: str, status: int | None = 0) -> str:
        """What a command prints to standard output."""
        done = self.run(*words)
        assert status is None or done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of pinfold's against this machine's processes."""
        line = [*words, "--connect", "processes:", "--config", str(self.folder / "pinfold.conf")]
        return loaded.run("pinfold", line, loaded.importing() | {"COLUMNS": "300"})

    def shown(self, hand: Hand) -> Any:
        """`guest show --json` of one guest."""
        done = self.run("guest", "show", hand.name, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def audited(self, hand: Hand) -> Any:
        """One guest in `audit --json`."""
        found = json.loads(self.pinfold("audit", "--json", status=None))
        return next(guest for guest in found["guests"] if guest["guest"]["name"] == hand.name)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    if not QEMU or os.geteuid() != 0:
        pytest.skip("QEMU processes are started and moved by root, with qemu-system-x86_64")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("it takes two pCPUs")
    (tmp_path / "pinfold.conf").write_text(
        f"[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n[pinfold]\nstate_dir = {tmp_path / 'state'}\n"
    )
    (tmp_path / "sockets").mkdir()
    running: list[Hand] = []
    yield Bench(folder=tmp_path, running=running)
    for hand in running:
        for end in (lambda hand=hand: os.kill(hand.pid, 9), hand.process.kill):  # type: ignore[misc]
            try:
                end()
            except ProcessLookupError:
                continue
        hand.process.wait()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> str:
    if request.param == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is not to be had")
    record_property("witness", f"{request.param.upper()}, started by hand")
    return str(request.param)


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


def _child(pid: int) -> int:
    """The process that a command such as `unshare --fork` started."""
    found: list[str] = []

    def there() -> bool:
        found[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(found)

    until(there, f"process {pid} has a child")
    return int(found[0])
