"""What real libvirt and QEMU do with huge-page guests whose emulator threads are, and are not, on the memory's host cell; as JSON.

Usage, in the small machine: python -m tests.machine.small.inside.huge_pages OUT.json. Recordings of it stand in `recorded/` beside the
tests that read them. The pages come from cell 1 (pCPUs 4-7); the emulator pin differs from case to case.
"""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

_XML: Final = """<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <memoryBacking>{backing}</memoryBacking>
  <vcpu placement='static'{placement}>1</vcpu>
  <cputune>{vcpupin}{emulatorpin}</cputune>
  <numatune><memory mode='strict' nodeset='1'/>{memnode}</numatune>
  <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os>
  {cpu}
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>"""
_CELL: Final = "<cpu><numa><cell id='0' cpus='0' memory='16' unit='MiB'/></numa></cpu>"
_MEMNODE: Final = "<memnode cellid='0' mode='strict' nodeset='1'/>"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One domain. `then` is an emulator pin that is set while it runs."""

    name: str
    emulator: str = ""
    vcpu: str = "5"
    placement: str = ""
    cells: bool = True
    backing: str = "<hugepages><page size='2048' unit='KiB'/></hugepages>"
    then: str = ""


CASES: Final = (
    Case(name="emulator-on-the-cell", emulator="4"),
    Case(name="emulator-elsewhere", emulator="0-1"),
    Case(name="emulator-elsewhere-no-cells", emulator="0-1", cells=False),
    Case(name="emulator-on-both-then-elsewhere", emulator="0-1,4", then="0-1"),
    Case(name="emulator-elsewhere-small-pages-at-once", emulator="0-1", backing="<allocation mode='immediate'/>"),
    Case(name="no-emulatorpin"),
    Case(name="no-emulatorpin-floating-elsewhere", vcpu="", placement="0-1"),
)


def main(path: str) -> None:
    found: dict[str, Any] = {"kernel": platform.release()}
    found |= {name: _version(program) for name, program in (("libvirt", "libvirtd"), ("qemu", "qemu-system-x86_64"))}
    with contextlib.ExitStack() as stack:
        image = rom.write(Path("/run/idle.rom"))
        for cgroups in (True, False):
            lab = stack.enter_context(LabHost("cgroups" if cgroups else "plain", cgroups=cgroups))
            print(f"lab: cgroup {lab.cgroups}, KVM {lab.kvm}", flush=True)
            found[f"cgroup {lab.cgroups}"] = {case.name: _case(lab, case, image) for case in CASES}
            Path(path).write_text(json.dumps(found, indent=2) + "\n")


def _case(lab: LabHost, case: Case, image: Path) -> dict[str, Any]:
    text = _XML.format(
        kind="kvm" if lab.kvm else "qemu",
        name=case.name,
        backing=case.backing,
        placement=f" cpuset='{case.placement}'" if case.placement else "",
        vcpupin=f"<vcpupin vcpu='0' cpuset='{case.vcpu}'/>" if case.vcpu else "",
        emulatorpin=f"<emulatorpin cpuset='{case.emulator}'/>" if case.emulator else "",
        memnode=_MEMNODE if case.cells else "",
        cpu=_CELL if case.cells else "",
        rom=image,
    )
    definition = Path(f"/run/{case.name}.xml")
    definition.write_text(text)
    _virsh(lab, "define", str(definition))
    began, error = _virsh(lab, "start", case.name)
    log = (lab.folder.path / f"log/qemu/{case.name}.log").read_text(errors="replace")
    told: dict[str, Any] = {"xml": text, "started": began, "error": error}
    told["log"] = [line for line in log.splitlines() if "qemu-system-x86_64: " in line]
    if began:
        told["threads"] = _threads(lab, case.name)
        if case.then:
            told["pin"] = case.then
            told["pinned"], told["pin_error"] = _virsh(lab, "emulatorpin", case.name, case.then, "--live")
            told["threads_after"] = _threads(lab, case.name)
        _virsh(lab, "destroy", case.name)
    print(f"{case.name}: {'started' if began else error}", flush=True)
    return told


def _threads(lab: LabHost, name: str) -> list[dict[str, str]]:
    pid = (lab.run_dir / f"qemu/{name}.pid").read_text().strip()
    found = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
        lines = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        group = (task / "cgroup").read_text().strip().rpartition("/")[2]
        found.append({"name": lines["Name"], "allowed": lines["Cpus_allowed_list"], "cgroup": group})
    return found


def _virsh(lab: LabHost, *words: str) -> tuple[bool, str]:
    done = subprocess.run(["virsh", "-q", "-c", lab.uri, *words], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr.strip()


def _version(program: str) -> str:
    command = [program, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin"})
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    main(sys.argv[1])
