"""Memory that was moved to another cell is a finding until the guest starts anew. The kernel moves it here, as `migratepages` would.

Run in the small machine, by name (`pytest tests/machine/small/inside/memory.py`); it is not collected anywhere else.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench, pools
from tests.real.host.domains import virsh
from tests.real.patience import until

from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.core.settings import HostSettings
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot
from pinfold.host.audit import audit
from pinfold.host.start import restart
from pinfold.host.stop import stop
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

MIGRATE_PAGES = 256
"""The number of the system call on x86_64."""
SAID = r"guest \w+: \d+ MiB of its memory lie on cell 0, their place is cell 1"
AT_ONCE = "<memoryBacking>{pages}<allocation mode='immediate'/></memoryBacking>"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The dedicated pCPUs lie in cell 1."""
    tmp_path.chmod(0o711)
    with LabHost("memory") as lab:
        settings = HostSettings(uri=lab.uri, state_dir=str(tmp_path / "state"), pools=pools(shared="0-1", dedicated="4-7"))
        settings = structs.replace(settings, limits=structs.replace(settings.limits, reserved_memory_mib=0))
        driver = LibvirtDriver(lab.uri)
        try:
            yield Bench(lab=lab, driver=driver, settings=settings, rom=rom.write(tmp_path / "idle.rom"))
        finally:
            for guest in driver.guests():
                driver.stop(guest.id, remove=True)
            driver.close()


def sentences(bench: Bench) -> list[str]:
    """What an audit of the host finds about guests."""
    return [finding.sentence() for guest in audit(bench.driver, bench.settings).guests for finding in guest.findings]


def move(bench: Bench, name: str, *, source: int, target: int) -> None:
    """Have the kernel move the pages of a guest's process from one cell to another."""
    pid = bench.guest(name).pid
    old, new = ctypes.c_ulong(1 << source), ctypes.c_ulong(1 << target)
    left = ctypes.CDLL(None, use_errno=True).syscall(MIGRATE_PAGES, pid, 64, ctypes.byref(old), ctypes.byref(new))
    assert left >= 0, ctypes.get_errno()


@pytest.mark.parametrize("specs", [{}, {"hw:mem_page_size": "2MB"}], ids=["small pages", "huge pages"])
def test_a_guest_of_ours(bench: Bench, specs: dict[str, str]) -> None:
    template = f"""<domain type='{"kvm" if bench.lab.kvm else "qemu"}'>{AT_ONCE.format(pages="")}
    <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{bench.rom}</loader></os>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices></domain>"""
    request = compile_request(Flavor(vcpus=1, memory_mib=64, extra_specs=tuple(sorted((DEDICATED | specs).items()))))
    bench.start(structs.replace(bench.order("web", DEDICATED, boot=Boot()), request=request, template=template))
    assert sentences(bench) == []
    move(bench, "web", source=1, target=0)
    (said,) = sentences(bench)
    assert re.fullmatch(SAID, said)
    stop(bench.driver, bench.settings, "web", remove=False)
    restart(bench.driver, bench.settings, "web")
    assert sentences(bench) == []


def test_a_guest_of_novas(bench: Bench, tmp_path: Path) -> None:
    nova = "http://openstack.org/xmlns/libvirt/nova/1.1"
    file = tmp_path / "vm.xml"
    file.write_text(
        f"""<domain type='{"kvm" if bench.lab.kvm else "qemu"}'><name>instance</name><uuid>{uuid.uuid4()}</uuid>
        <metadata><nova:instance xmlns:nova="{nova}"><nova:name>vm</nova:name><nova:flavor name="m1"><nova:memory>64</nova:memory>
        <nova:vcpus>1</nova:vcpus><nova:extraSpecs><nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec></nova:extraSpecs>
        </nova:flavor></nova:instance></metadata><memory unit='MiB'>64</memory>{AT_ONCE.format(pages="")}<vcpu>1</vcpu>
        <cputune><vcpupin vcpu='0' cpuset='4'/><emulatorpin cpuset='4'/></cputune>
        <numatune><memory mode='strict' nodeset='1'/><memnode cellid='0' mode='strict' nodeset='1'/></numatune>
        <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{bench.rom}</loader></os>
        <cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/></devices>
        </domain>"""
    )
    virsh(bench, "define", str(file))
    virsh(bench, "start", "instance")
    assert sentences(bench) == []
    move(bench, "instance", source=1, target=0)
    (said,) = sentences(bench)
    assert re.fullmatch(SAID, said)
    virsh(bench, "destroy", "instance")  # and a new start: what a hard reboot does
    until(lambda: not bench.guest("instance").active, "it has ended")
    subprocess.run(["virsh", "-q", "-c", bench.lab.uri, "start", "instance"], check=True)
    assert sentences(bench) == []
