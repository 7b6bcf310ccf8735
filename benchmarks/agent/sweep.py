"""A real agent with many real guests: the CPU of a sweep and the agent's memory. The guests are made through a real API."""

from __future__ import annotations

import gc
import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.rig.fleet import ACCOUNT, sweep, write_accounts
from tests.rig.processes import Process, Service, configuration, until

from benchmarks.process import Memory, cpu_seconds, memory, started
from pinfold.agent.readings import Readings
from pinfold.agent.report import thread_report
from pinfold.config.fleet import load_fleet
from pinfold.core.hosttext import host
from pinfold.host.measure import sample
from pinfold.lab.daemon import LabHost
from pinfold.wiring.host import open_driver

TOPOLOGY = "pack:2 core:64 mem:16384"
SHARED, DEDICATED = "0-7", "8-127"
SPECS = {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"}
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was measured: CPU of one sweep in seconds (median, and of libvirtd's beside it), the agent's memory and CPU at rest."""

    guests: int
    threads: int
    first_cpu: float
    sweep_cpu: float
    libvirtd_cpu: float
    agent: Memory
    rest_percent: float


def measure(folder: Path, rom: Path, guests: int, rounds: int, rest_seconds: float) -> Swept:
    """One API, one agent and so many guests on a synthetic lab host; swept `rounds` times; watched at rest for so long."""
    write_accounts(folder)
    (folder / "images").mkdir()
    (folder / "images" / "probe.rom").write_bytes(rom.read_bytes())
    with ExitStack() as stack:
        lab = stack.enter_context(LabHost("bench-sweep", topology=host(TOPOLOGY)))
        stack.callback(sweep, lab)
        api = _api(folder, stack)
        agent, config = _agent(folder, lab, api, stack)
        _fill(api, guests)
        time.sleep(min(5.0, rest_seconds))
        before, began = cpu_seconds(agent.pid), time.monotonic()
        time.sleep(rest_seconds)
        rest = (cpu_seconds(agent.pid) - before) / (time.monotonic() - began) * 100
        settings = load_fleet([str(config)]).host
        libvirtd = int((lab.run_dir / "libvirtd-lab.pid").read_text())
        with open_driver(settings) as driver:
            readings = Readings(driver, settings)
            own = time.process_time()
            threads = _sweep(readings)
            first = time.process_time() - own
            gc.collect()
            spent, theirs = [], []
            for _ in range(rounds):
                own, other = time.process_time(), cpu_seconds(libvirtd)
                assert _sweep(readings) >= threads // 2
                spent.append(time.process_time() - own)
                theirs.append(cpu_seconds(libvirtd) - other)
        return Swept(
            guests=guests,
            threads=threads,
            first_cpu=first,
            sweep_cpu=statistics.median(spent),
            libvirtd_cpu=statistics.median(theirs),
            agent=memory(agent.pid),
            rest_percent=rest,
        )


def _sweep(readings: Readings) -> int:
    """What the agent does when a sweep is due: survey, report of each guest, audit, sample. How many threads it saw."""
    seen, count = readings.look(), 0
    for guest in seen.ours:
        report = thread_report(readings.verify(guest, online=seen.state.topology.online))
        count += len(report.threads) if report else 0
    found, drawn = readings.audit(seen, lambda *_: None)
    sample(found, drawn)
    return count


def _api(folder: Path, stack: ExitStack) -> Service:
    state = folder / "api"
    state.mkdir(mode=0o711)
    text = f"[pinfold]\nstate_dir = {state}\nimages_dir = {folder}/images\n[pinfold_api]\nport = 0\naccounts_file = {folder}/accounts\n"
    (folder / "api.conf").write_text(text)
    process = Process(("api", "--config", str(folder / "api.conf")), folder, "api")
    stack.callback(process.kill)
    started(process)
    return Service(process.told["url"], ACCOUNT)


def _agent(folder: Path, lab: LabHost, api: Service, stack: ExitStack) -> tuple[Process, Path]:
    state = folder / "agent"
    state.mkdir(mode=0o711)
    token = api.ask("POST", "/v1/hosts", {"name": "bench"})["token"]
    with os.fdopen(os.open(state / "agent.token", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(token)
    config = folder / "agent.conf"
    config.write_text(configuration(lab, state, host="bench", shared=SHARED, dedicated=DEDICATED, pinfold_agent=f"api_url = {api.url}"))
    process = Process(("agent", "--config", str(config)), folder, "agent")
    stack.callback(process.kill)
    started(process)
    api.await_host("bench", up=True)
    return process, config


def _fill(api: Service, guests: int) -> None:
    """So many servers, all running."""
    flavor = api.flavor("tiny", vcpus=1, ram=8, **SPECS)
    for number in range(guests):
        api.create(f"vm{number}", flavor)

    def active() -> bool:
        statuses = [server["status"] for server in api.servers()]
        assert "ERROR" not in statuses
        return statuses == ["ACTIVE"] * guests

    until(active, f"{guests} servers are active", seconds=_PATIENCE_SECONDS, pause=2.0)
