"""Start the guest of one trial, measure one round, end it. Its vCPU is pinned; the overhead threads run there too, or apart from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import libvirt
from msgspec import Struct, structs

from pinfold.core.errors import PinfoldError, Unavailable
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.latency import loads
from pinfold.latency.model import FLOAT, PINFOLD, Pcpus, Sample, ThreadShares, Trial
from pinfold.latency.serial import Round, parse
from pinfold.latency.threads import changed, instead, shares
from pinfold.linux.schedstat import machine_threads

_WRITE_PERIOD_US, _WRITE_DEPTH = 2000, 8
_PAUSE_SECONDS, _PATIENCE_SECONDS = 0.2, 120.0
_DOMAIN: Final = """<domain type='{kind}'><name>{name}</name><memory unit='MiB'>{mib}</memory>
<vcpu placement='static' cpuset='{vcpu}'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='{vcpu}'/><emulatorpin cpuset='{emulator}'/>{fifo}
</cputune><os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>{disk}<controller type='usb' model='none'/><memballoon model='none'/>
<serial type='file'><source path='{serial}'/></serial></devices></domain>"""
_FIFO: Final = "<vcpusched vcpus='0' scheduler='fifo' priority='1'/>"
_DISK: Final = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writethrough' io='threads'/><source file='{file}'/>"
    "<target dev='vda' bus='virtio'/></disk>"
)


class StartError(PinfoldError):
    """A guest did not start."""


class _Load(Struct, frozen=True, kw_only=True):
    """What was seen from outside while the load ran; the fields of `Sample`."""

    operations: int
    monitor_ms: tuple[float, ...]
    vcpu: ThreadShares
    overhead: ThreadShares
    instead: tuple[tuple[str, float], ...]
    watched_seconds: float
    outlasted: bool


class Rig:
    """A lab whose guests have no cgroup, so that real-time threads are allowed. It changes no setting of the machine."""

    def __init__(self, lab: LabHost, folder: Path, pcpus: Pcpus) -> None:
        self._folder = folder
        self._connection = libvirt.open(lab.uri)
        self._run = lab.run_dir
        self._uri = lab.uri
        self._khz = tsc_khz(self._connection.getCapabilities())
        self._number = 0
        self._pcpus = pcpus

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def measure(self, trial: Trial) -> Sample:
        """Start the guest, measure one round, end the guest. Raises `StartError` if it does not start."""
        self._number += 1
        name = f"lat{self._number}"
        serial = self._folder / f"{name}.serial"
        domain = self._start(name, trial, self._xml(name, trial, serial))
        try:
            pid = int((self._run / "qemu" / f"{name}.pid").read_text())
            until(lambda: "PROBE-UP" in read(serial))
            found = self._loaded(domain, pid, trial, lambda: "\nROUND " in read(serial))
            until(lambda: parse(read(serial)) is not None, seconds=trial.seconds * 4 + _PATIENCE_SECONDS)
        finally:
            defined = domain.isPersistent()
            domain.destroy()
            if defined:
                domain.undefine()
        measured = parse(read(serial))
        assert measured is not None
        return _sample(trial, measured, found)

    def _start(self, name: str, trial: Trial, xml: str) -> Any:
        """The running domain: started by libvirt as it is, or by `pinfold guest start` with the domain as its template."""
        if trial.policy not in PINFOLD:
            try:
                return self._connection.createXML(xml, 0)
            except libvirt.libvirtError as error:
                raise StartError(str(error)) from error
        template, config = self._folder / f"{name}.xml", self._folder / "pinfold.conf"
        template.write_text(xml)
        config.write_text(
            f"[compute]\ncpu_shared_set = {self._pcpus.overhead}\ncpu_dedicated_set = {self._pcpus.vcpu}\nreserved_host_memory_mb = 0\n"
            f"[libvirt]\nconnection_uri = {self._uri}\n[pinfold]\nstate_dir = {self._folder / 'state'}\n"
        )
        line = [sys.executable, "-m", "pinfold", "guest", "start", name, "--config", str(config), "--template", str(template)]
        line += ["--virt-type", trial.accelerator, "--vcpus", "1", "--ram", str(_mib(trial)), "-p", "hw:cpu_policy=dedicated"]
        line += PINFOLD[trial.policy]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise StartError(f"pinfold guest start: {done.stdout}{done.stderr}")
        return self._connection.lookupByName(name)

    def _loaded(self, domain: Any, pid: int, trial: Trial, ended: Callable[[], bool]) -> _Load:
        """Run the load for most of the round, ask the monitor meanwhile, and see who ran.

        The monitor may take long to answer, so it is asked in a thread of its own, and the second look at the threads waits for no answer.
        """
        end, stop, done = time.monotonic() + trial.seconds * 0.9, threading.Event(), list[int]()
        loader = threading.Thread(target=lambda: done.append(loads.RUN[trial.load](self._connection, domain, stop)))
        before, began = machine_threads(), time.monotonic()
        with ThreadPoolExecutor(1) as asker:
            loader.start()
            try:
                asked = asker.submit(_answers, domain, stop)
                time.sleep(max(0.1 * trial.seconds, end - time.monotonic()))
                change = changed(before, machine_threads())
                passed = time.monotonic() - began  # the guest is the newest process, so its threads are read last
                outlasted = ended()
            finally:
                stop.set()
                loader.join(_PATIENCE_SECONDS)
            answers = asked.result(_PATIENCE_SECONDS)
        return _Load(
            operations=sum(done),
            monitor_ms=tuple(sorted(round(answer, 3) for answer in answers)),
            vcpu=shares(change, pid, passed, vcpus=True),
            overhead=shares(change, pid, passed, vcpus=False),
            instead=tuple((who, round(ms, 1)) for who, ms in instead(change, self._pcpus.vcpu, pid)),
            watched_seconds=round(passed, 2),
            outlasted=outlasted,
        )

    def _xml(self, name: str, trial: Trial, serial: Path) -> str:
        writes = trial.load == "writes"
        made = rom.write(
            self._folder / f"{name}.rom",
            rom.Parameters(
                behaviour=rom.Behaviour.MEASURE,
                tsc_khz=self._khz,
                round_ms=int(trial.seconds * 1000),
                rounds=1,
                io=rom.Io.DISK if writes else rom.Io.NONE,
                io_period_us=_WRITE_PERIOD_US,
                io_depth=_WRITE_DEPTH,
                io_write=1,
            ),
        )
        disk = self._folder / f"{name}.img"
        if writes:
            disk.touch()
            os.truncate(disk, 16 << 20)
        return _DOMAIN.format(
            kind=trial.accelerator,
            name=name,
            mib=_mib(trial),
            vcpu=self._pcpus.vcpu,
            emulator=self._pcpus.vcpu if trial.policy.startswith(FLOAT) else self._pcpus.overhead,
            fifo=_FIFO if trial.policy.endswith("FIFO") else "",
            rom=made,
            disk=_DISK.format(file=disk) if writes else "",
            serial=serial,
        )


def _answers(domain: Any, stop: threading.Event) -> list[float]:
    """How many milliseconds each answer of the monitor took, until the event is set."""
    found = []
    while not stop.is_set():
        asked = time.monotonic()
        loads.monitor(domain, "query-status")
        found.append(1000 * (time.monotonic() - asked))
        stop.wait(_PAUSE_SECONDS)
    return found


def _mib(trial: Trial) -> int:
    """The guest's memory; a migration needs some to copy."""
    return 256 if trial.load == "migration" else 16


def _sample(trial: Trial, measured: Round, load: _Load) -> Sample:
    return Sample(
        **structs.asdict(trial),
        **structs.asdict(load),
        stolen_us=measured.stolen_us,
        gap_max_ns=measured.gap_max_ns,
        late_max_ns=measured.late_max_ns,
        kick_us=round(measured.io_us / measured.ios, 1) if measured.ios else None,
        late=tuple(sorted(measured.late.items())),
        gaps=tuple(sorted(measured.gaps.items())),
        worst_us=tuple(sorted(measured.worst_us.items())),
    )


def tsc_khz(capabilities: str) -> int:
    """The frequency of the time-stamp counter, from libvirt's capabilities, else from the kernel's message of the boot.

    Raises `Unavailable` if neither has it.

    >>> tsc_khz("<counter name='tsc' frequency='2100000000' scaling='no'/>")
    2100000
    """
    told = re.search(r"<counter name='tsc' frequency='(\d+)'", capabilities)
    if told:
        return int(told[1]) // 1000
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
    seen = re.findall(r"tsc: (?:Refined TSC clocksource calibration: |Detected )([\d.]+) MHz", log)
    if not seen:
        raise Unavailable("neither libvirt nor the kernel tells the frequency of the time-stamp counter")
    return int(float(seen[-1]) * 1000)


def read(path: Path) -> str:
    """The text of a file that may not be there yet."""
    return path.read_text(errors="replace") if path.exists() else ""


def until(true: Any, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until it is true. Raises `Unavailable` if it is not in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise Unavailable(f"the guest did not answer within {seconds:.0f} s")
        time.sleep(0.01)
