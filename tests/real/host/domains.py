"""Domains that are not ours, as Nova or an operator would define them by hand."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
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
    cputune: str = "",
    placement: str = "",
    nova: bool = False,
    specs: dict[str, str] | None = None,
    run: bool = True,
) -> None:
    """Define a domain of somebody else's with virsh, and start it."""
    kind = "kvm" if bench.lab.kvm else "qemu"
    extra = "".join(f'<nova:extraSpec name="{key}">{value}</nova:extraSpec>' for key, value in (specs or {}).items())
    metadata = _NOVA.format(vcpus=vcpus, specs=f"<nova:extraSpecs>{extra}</nova:extraSpecs>" if specs else "") if nova else ""
    text = f"""<domain type='{kind}'><name>{name}</name><uuid>{uuid.uuid4()}</uuid><metadata>{metadata}</metadata>
    <memory unit='MiB'>16</memory><vcpu placement='static'{f" cpuset='{placement}'" if placement else ""}>{vcpus}</vcpu>
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


def everything(bench: Bench) -> list[str]:
    """Every definition, live and stored, and every mask: what an audit must not change."""
    found = []
    for guest in bench.driver.guests():
        found += [virsh(bench, "dumpxml", guest.name), virsh(bench, "dumpxml", "--inactive", guest.name)]
        for task in sorted(Path(f"/proc/{guest.pid}/task").iterdir()) if guest.pid else []:
            found += [line for line in (task / "status").read_text().splitlines() if line.startswith("Cpus_allowed_list")]
    return found
