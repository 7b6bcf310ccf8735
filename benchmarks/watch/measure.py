"""Measure the watch beside many real guests: Nova's by their metadata, defined and started with virsh on a synthetic lab host."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Memory, cpu_seconds, memory
from pinfold.config import load
from pinfold.core.hosttext import host
from pinfold.core.usage import Usage, accumulated
from pinfold.lab import rom as probe
from pinfold.lab.daemon import LabHost
from pinfold.watch.metrics import render
from pinfold.watch.state import State
from pinfold.watch.sweep import SweepResult, sweep
from pinfold.wiring.host import open_driver

TOPOLOGY = "pack:2 core:64 mem:16384"
SHARED, DEDICATED = "0-7", range(8, 128)

_DOMAIN = """<domain type='kvm'><name>vm{number}</name><uuid>{id}</uuid><metadata>
<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>server{number}</nova:name><nova:flavor name="tiny">
<nova:memory>8</nova:memory><nova:disk>0</nova:disk><nova:swap>0</nova:swap><nova:ephemeral>0</nova:ephemeral><nova:vcpus>1</nova:vcpus>
<nova:extraSpecs><nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec>
<nova:extraSpec name="hw:emulator_threads_policy">share</nova:extraSpec></nova:extraSpecs></nova:flavor></nova:instance></metadata>
<memory unit='MiB'>8</memory><vcpu placement='static'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='{pcpu}'/><emulatorpin cpuset='{shared}'/>
</cputune><os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """CPU in seconds: of the first sweep, each later one and libvirtd's beside it, and each scrape of the metrics; the process at rest.

    `kernel_percent` is the part of all later sweeps that the kernel took, for system calls.
    """

    guests: int
    threads: int
    first_cpu: float
    sweep_cpu: list[float]
    kernel_percent: float
    libvirtd_cpu: list[float]
    render_cpu: list[float]
    rest_percent: float
    libvirtd_percent: float
    process: Memory


def measure(folder: Path, guests: int, rounds: int, rest_seconds: float) -> Measured:
    """So many guests, swept `rounds` times in this process and watched by a process of its own."""
    with LabHost("bench-watch", topology=host(TOPOLOGY)) as lab:
        config = folder / "watch.conf"
        config.write_text(
            f"[compute]\ncpu_shared_set = {SHARED}\ncpu_dedicated_set = {DEDICATED.start}-{DEDICATED.stop - 1}\n"
            f"[libvirt]\nconnection_uri = {lab.uri}\n[pinfold]\nstate_dir = {folder / 'state'}\n"
        )
        _fill(lab, folder, guests)
        settings = load([str(config)], audits=True).settings
        libvirtd = int((lab.run_dir / "libvirtd-lab.pid").read_text())
        spent, theirs, rendered = [], [], []
        system = 0.0
        with open_driver(settings) as driver:
            began = time.process_time()
            usage, found = None, sweep(driver, settings)
            first = time.process_time() - began
            gc.collect()
            for _ in range(rounds):
                own, other, begun = time.process_time(), cpu_seconds(libvirtd), resource.getrusage(resource.RUSAGE_SELF).ru_stime
                found = sweep(driver, settings, before=found)
                usage = accumulated(usage, found.sample)
                spent.append(time.process_time() - own)
                system += resource.getrusage(resource.RUSAGE_SELF).ru_stime - begun
                theirs.append(cpu_seconds(libvirtd) - other)
                own = time.process_time()
                render(State(settings=settings, interval=10.0, snapshot=found.snapshot, usage=usage))
                rendered.append(time.process_time() - own)
            rest, other, used = _at_rest(config, libvirtd, rest_seconds)
            for guest in driver.guests():
                driver.stop(guest.id, remove=True)
            return Measured(
                guests=len(found.snapshot.guests),
                threads=_threads(usage, found),
                first_cpu=first,
                sweep_cpu=spent,
                kernel_percent=100 * system / sum(spent),
                libvirtd_cpu=theirs,
                render_cpu=rendered,
                rest_percent=rest,
                libvirtd_percent=other,
                process=used,
            )


def _threads(usage: Usage | None, found: SweepResult) -> int:
    assert usage is not None
    assert not found.unread
    return sum(len(guest.threads) for guest in found.sample.guests)


def _fill(lab: LabHost, folder: Path, guests: int) -> None:
    rom = probe.write(folder / "probe.rom")
    lines = []
    for number in range(guests):
        path = folder / f"vm{number}.xml"
        pcpu = DEDICATED[number % len(DEDICATED)]
        path.write_text(_DOMAIN.format(number=number, id=uuid.uuid4(), pcpu=pcpu, shared=SHARED, rom=rom))
        lines += [f"define {path}", f"start vm{number}"]
    done = subprocess.run(["virsh", "-q", "-c", lab.uri], input="\n".join(lines), capture_output=True, text=True, check=False)
    assert "error:" not in done.stderr, done.stderr


def _at_rest(config: Path, libvirtd: int, seconds: float) -> tuple[float, float, Memory]:
    """The watch as a process with the default interval: per cent of one CPU, libvirtd's beside it, and the process's memory."""
    line = [sys.executable, "-m", "pinfold", "watch", "--config", str(config), "--listen", "127.0.0.1:0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(min(12.0, seconds))
            own, other, began = cpu_seconds(process.pid), cpu_seconds(libvirtd), time.monotonic()
            time.sleep(seconds)
            passed = time.monotonic() - began
            used = memory(process.pid)
            shares = [100 * (cpu_seconds(pid) - before) / passed for pid, before in ((process.pid, own), (libvirtd, other))]
            process.send_signal(signal.SIGTERM)
            return shares[0], shares[1], used
        finally:
            process.kill()
