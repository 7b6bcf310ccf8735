"""Domains that are not ours, as Nova or an operator would define them by hand."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.real.host.bench import Bench

_NOVA = """<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>vm</nova:name>
<nova:flavor name="m1.pinned"><nova:memory>16</nova:memory><nova:disk>0</nova:disk><nova:swap>0</nova:swap>
<nova:ephemeral>0</nova:ephemeral><nova:vcpus>{vcpus}</nova:vcpus>{specs}</nova:flavor></nova:instance>"""


def define(
    bench: Bench,
    name: str,
    *,
    vcpus: int = 1,
    current: int | None = None,
    cputune: str = "",
    placement: str = "",
    nova: bool = False,
    specs: dict[str, str] | None = None,
    iothreads: int = 0,
    run: bool = True,
) -> None:
    """Define a domain of somebody else's with virsh, and start it. `specs` None: an older Nova, which writes no extra specs.

    `current` of its vCPUs are there at the start.
    """
    kind = "kvm" if bench.lab.kvm else "qemu"
    extra = "".join(f'<nova:extraSpec name="{key}">{value}</nova:extraSpec>' for key, value in (specs or {}).items())
    metadata = _NOVA.format(vcpus=vcpus, specs=f"<nova:extraSpecs>{extra}</nova:extraSpecs>" if specs is not None else "") if nova else ""
    text = f"""<domain type='{kind}'><name>{name}</name><uuid>{uuid.uuid4()}</uuid><metadata>{metadata}</metadata>
    <memory unit='MiB'>16</memory>
    <vcpu placement='static'{f" cpuset='{placement}'" if placement else ""}{f" current='{current}'" if current else ""}>{vcpus}</vcpu>
    {f"<iothreads>{iothreads}</iothreads>" if iothreads else ""}
    <cputune>{cputune}</cputune><os><type arch='x86_64' machine='pc'>hvm</type>
    <loader readonly='yes' type='rom'>{bench.rom}</loader></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(text)
        file.flush()
        virsh(bench, "define", file.name)
    if run:
        virsh(bench, "start", name)


def virsh(bench: Bench, *arguments: str) -> str:
    """What virsh says on the lab host."""
    done = subprocess.run(["virsh", "-q", "-c", bench.lab.uri, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Everything:
    """Every definition, live and stored, and the mask of every thread by its id: what an audit must not change."""

    definitions: tuple[str, ...]
    masks: dict[int, str]

    def unchanged(self, now: Everything) -> bool:
        """Whether that is still so, of the threads that were there both times: QEMU and KVM make and end some by themselves."""
        both = self.masks.keys() & now.masks.keys()
        return self.definitions == now.definitions and bool(both) and all(self.masks[tid] == now.masks[tid] for tid in both)


def everything(bench: Bench) -> Everything:
    """The host as it is now."""
    definitions, masks = [], {}
    for guest in bench.driver.guests():
        definitions += [virsh(bench, "dumpxml", guest.name), virsh(bench, "dumpxml", "--inactive", guest.name)]
        for task in Path(f"/proc/{guest.pid}/task").iterdir() if guest.pid else ():
            with contextlib.suppress(OSError):
                text = (task / "status").read_text()
                masks[int(task.name)] = next(line for line in text.splitlines() if line.startswith("Cpus_allowed_list"))
    return Everything(definitions=tuple(definitions), masks=masks)
