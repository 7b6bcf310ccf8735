"""Our start of a guest beside `virsh create` of the same XML, in turns, on real guests of a lab with the machine's own topology."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.core.pools import PoolConfig
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, Driver, GuestSpec, Record
from pinfold.host.lock import owning
from pinfold.host.start import start
from pinfold.host.stop import stop
from pinfold.host.survey import survey
from pinfold.lab.daemon import LabHost
from pinfold.wiring.host import open_driver

OWNER = "the agent of the benchmark"
ONE = CpuSet.of(0)
REQUEST = GuestRequest(
    vcpus=1,
    memory_mib=8,
    cpu_policy=CpuPolicy.DEDICATED,
    emulator_policy=EmulatorPolicy.SHARE,
    cells=(GuestCell(id=0, vcpus=ONE, dedicated=ONE, memory_mib=8),),
)
_TIMING = re.compile(r"\(Time: ([0-9.]+) ms\)")


@dataclass
class Starts:
    """Times of single starts in milliseconds; `steps` by the name of the step."""

    ours: list[float] = field(default_factory=list)
    virsh: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)


def measure(folder: Path, rom: Path, rounds: int) -> Starts:
    """So many starts of each kind, one after another, the first two of each left out."""
    measured = Starts()
    with LabHost("bench-start") as lab:
        pools = PoolConfig(shared=CpuSet.of(0), dedicated=CpuSet.of(1))
        settings = HostSettings(uri=lab.uri, state_dir=str(folder), host="bench", pools=pools)
        with open_driver(settings) as driver, owning(settings, OWNER), _shell(lab.uri) as shell:
            for turn in range(rounds + 2):
                ours, steps = _ours(driver, settings, rom)
                virsh = _virsh(driver, settings, shell, rom, folder)
                if turn >= 2:
                    measured.ours.append(ours)
                    measured.virsh.append(virsh)
                    for name, seconds in steps:
                        measured.steps.setdefault(name, []).append(seconds * 1e3)
    return measured


def _spec(driver: Driver, settings: HostSettings, rom: Path) -> GuestSpec:
    """A guest as the service would order it."""
    found = fit(REQUEST, survey(driver, settings).state)
    assert isinstance(found, Fit), found
    guest = str(uuid.uuid4())
    record = Record(guest=guest, policy=REQUEST.emulator_policy, fit=found, revision=1, flavor="bench", owner=OWNER)
    boot = Boot(rom=str(rom))
    return GuestSpec(name=f"ours-{guest[:8]}", request=REQUEST, record=record, boot=boot, virt_type="")


def _ours(driver: Driver, settings: HostSettings, rom: Path) -> tuple[float, tuple[tuple[str, float], ...]]:
    spec = _spec(driver, settings, rom)
    began = time.perf_counter()
    outcome = start(driver, settings, spec)
    spent = time.perf_counter() - began
    stop(driver, settings, spec.id, remove=True, agent=OWNER)
    return spent * 1e3, outcome.timings


def _virsh(driver: Driver, settings: HostSettings, shell: subprocess.Popen[str], rom: Path, folder: Path) -> float:
    spec = replace(_spec(driver, settings, rom), name="by-virsh")
    file = folder / "guest.xml"
    file.write_text(driver.definition(spec), encoding="utf-8")
    spent = _told(shell, f"create {file}")
    _told(shell, "destroy by-virsh")
    return spent


@contextmanager
def _shell(uri: str) -> Iterator[subprocess.Popen[str]]:
    """One virsh that stays connected, as the agent does, and times each command by itself."""
    command = ["virsh", "-c", uri, "--timing"]
    shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _told(shell, "list")
        yield shell
    finally:
        assert shell.stdin is not None
        shell.stdin.close()
        shell.wait(30)


def _told(shell: subprocess.Popen[str], command: str) -> float:
    """The milliseconds that virsh says the command took."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{command}\n")
    shell.stdin.flush()
    said = []
    for line in shell.stdout:
        said.append(line)
        if "error:" in line:
            break
        if timed := _TIMING.search(line):
            return float(timed[1])
    raise RuntimeError(f"virsh {command}: {''.join(said)}")
