"""`python -m benchmarks.watch.run`: measure the watch beside many real guests, write docs/benchmarks/watch.md; status 1 on a missed budget.

The guests are Nova's by their metadata, defined and started with virsh on a synthetic lab host.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import PAGES, Budget, publish, table
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
SWEEP_BOUND, REST_BOUND, MEMORY_BOUND = 0.08, 1.5, 60
"""The budgets: CPU seconds of a sweep over 100 guests, per cent of one CPU at rest, MiB resident."""

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
    """CPU in seconds: of the first sweep, a later one (median, and libvirtd's beside it), and the metrics; the process at rest."""

    guests: int
    threads: int
    first_cpu: float
    sweep_cpu: float
    libvirtd_cpu: float
    render_cpu: float
    rest_percent: float
    libvirtd_percent: float
    process: Memory


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch.run", description="Measure what pinfold watch costs.")
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=9)
    parser.add_argument("--rest", type=float, default=60.0, help="seconds at rest")
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the page is written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pf-watch-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        found = measure(folder, asked.guests, asked.sweeps, asked.rest)
    budgets = [
        Budget(what=f"sweep over {found.guests} guests, CPU", measured=found.sweep_cpu, bound=SWEEP_BOUND, unit="s"),
        Budget(what="at rest, of one CPU", measured=found.rest_percent, bound=REST_BOUND, unit="%"),
        Budget(what="resident", measured=found.process.rss, bound=MEMORY_BOUND, unit="MiB"),
    ]
    return publish("watch", "The watch", "make bench-watch", budgets, _body(found), folder=asked.folder)


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
        with open_driver(settings) as driver:
            began = time.process_time()
            usage, found = None, sweep(driver, settings)
            first = time.process_time() - began
            gc.collect()
            for _ in range(rounds):
                own, other = time.process_time(), cpu_seconds(libvirtd)
                found = sweep(driver, settings, before=found)
                usage = accumulated(usage, found.sample)
                spent.append(time.process_time() - own)
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
                sweep_cpu=statistics.median(spent),
                libvirtd_cpu=statistics.median(theirs),
                render_cpu=statistics.median(rendered),
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
            time.sleep(12)
            own, other, began = cpu_seconds(process.pid), cpu_seconds(libvirtd), time.monotonic()
            time.sleep(seconds)
            passed = time.monotonic() - began
            used = memory(process.pid)
            shares = [100 * (cpu_seconds(pid) - before) / passed for pid, before in ((process.pid, own), (libvirtd, other))]
            process.send_signal(signal.SIGTERM)
            return shares[0], shares[1], used
        finally:
            process.kill()


def _body(found: Measured) -> list[str]:
    return [
        *_TEXT.format(guests=found.guests, threads=found.threads).splitlines(),
        "",
        *table(
            ("what", "measured"),
            [
                ("CPU of one sweep, ms", found.sweep_cpu * 1e3),
                ("CPU of the first sweep, ms", found.first_cpu * 1e3),
                ("libvirtd's CPU beside it, ms", found.libvirtd_cpu * 1e3),
                ("CPU of one scrape, ms", found.render_cpu * 1e3),
                ("at rest, % of one CPU", found.rest_percent),
                ("libvirtd beside it, % of one CPU", found.libvirtd_percent),
                ("resident MiB", found.process.rss),
                ("proportional MiB", found.process.pss),
                ("peak MiB", found.process.peak),
            ],
        ),
    ]


_TEXT = """\
{guests} running KVM guests of 8 MiB with Nova's metadata, one pinned vCPU each, policy `share`, on a synthetic lab host of 128 pCPUs;
{threads} threads. A sweep is the survey, the audit of every thread, the map, and the samples of schedstat. Its CPU is the median of user
and system time, while nothing changes but the threads' counters. The first sweep reads and judges everything; later ones read every
thread again, and whatever libvirt's files or events show as changed, and all definitions once a minute. At rest the process sweeps
every 10 s, with its journal and `--listen`."""


if __name__ == "__main__":
    sys.exit(main())
