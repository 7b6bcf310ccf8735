"""What `pinfold audit` advises about guests of ours, run word by word on a guest that has the fault: afterwards nothing is found."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests.real.cli.conftest import Pinfold, change_pools
from tests.rig.fits import vcpu_cpus

from pinfold.lab.daemon import LabHost


def _finding(pinfold: Pinfold, code: str, *, status: int = 1) -> dict[str, Any]:
    """The one finding of that code."""
    audited = json.loads(pinfold("audit", "--json", status=status).stdout)
    (found,) = (finding for guest in audited["guests"] for finding in guest["findings"] if finding["code"] == code)
    assert isinstance(found, dict)
    return found


def _follow(pinfold: Pinfold, advice: str, **names: str) -> None:
    """Run every command of an advice, in its order; `names` stand in for what the advice leaves to its reader."""
    commands = re.findall("`([^`]+)`", advice)
    assert commands, advice
    for command in commands:
        words = [names.get(word, word) for word in shlex.split(command)]
        if words[0] == "pinfold":
            pinfold(*words[1:])
        else:
            subprocess.run(words, check=True, capture_output=True)


def _look_and_follow(pinfold: Pinfold, advice: str) -> None:
    """Run the one command of an advice, which only looks, and then the command that it prints."""
    (command,) = re.findall("`([^`]+)`", advice)
    shown = " ".join(pinfold(*shlex.split(command)[1:], status=1).stdout.split())
    (printed,) = re.findall("`(pinfold [^`]+ --apply)`", shown)
    pinfold(*shlex.split(printed)[1:])


def _virsh(lab: LabHost, *words: str) -> str:
    return subprocess.run(["virsh", "-q", "-c", lab.uri, *words], check=True, capture_output=True, text=True).stdout


def test_a_guest_outside_of_the_pools_is_placed_again_and_its_disk_stays(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"\0" * (1 << 20))
    image.chmod(0o644)
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom), "--disk-file", str(image))
    (overlay,) = (tmp_path / "state" / "overlays").rglob("*.qcow2")
    kept = overlay.read_bytes(), overlay.stat().st_ino
    change_pools(tmp_path, "18-19", "20-31")
    pins, overhead = _outside(pinfold)
    _look_and_follow(pinfold, overhead)
    assert _finding(pinfold, "outside-pool")["subject"] == "its pins"
    _follow(pinfold, pins)
    assert "✓ 1 guest looked at: 0 findings" in pinfold("audit").stdout
    shown = json.loads(pinfold("guest", "show", "web", "--json").stdout)
    assert shown["guest"]["state"] == "running"
    assert (overlay.read_bytes(), overlay.stat().st_ino) == kept


def _outside(pinfold: Pinfold) -> tuple[str, str]:
    """The advice about the pins, and about the overhead threads, of a guest with nothing left in today's pools."""
    audited = json.loads(pinfold("audit", "--json", status=1).stdout)
    found = [finding for guest in audited["guests"] for finding in guest["findings"] if finding["code"] == "outside-pool"]
    assert [finding["subject"] for finding in found] == ["its pins", "its overhead threads"]
    return str(found[0]["advice"]), str(found[1]["advice"])


def test_a_guest_on_a_part_of_the_overhead_pool_is_given_all_of_it(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    change_pools(tmp_path, "0-1", "4-15,18-31")
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    change_pools(tmp_path, "0-1,16-17", "4-15,18-31")
    pinfold("guest", "stop", "web")
    pinfold("guest", "restart", "web")
    _look_and_follow(pinfold, _finding(pinfold, "pool-part", status=0)["advice"])
    assert pinfold("audit").stdout.splitlines()[-2].endswith("0 findings"), "no note either"


def test_a_paused_guest_whose_place_is_taken_stays_paused_until_the_command_in_the_error_is_run_again(
    pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path
) -> None:
    kind = "kvm" if synthetic_lab.kvm else "qemu"
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    _virsh(synthetic_lab, "suspend", "web")
    (cpu,) = vcpu_cpus(json.loads(pinfold("guest", "show", "web", "--json").stdout)["guest"]["record"]["fit"])
    stranger = tmp_path / "stranger.xml"
    stranger.write_text(_STRANGER.format(kind=kind, cpu=cpu, rom=idle_rom))
    _virsh(synthetic_lab, "create", str(stranger))
    said = " ".join(pinfold("guest", "restart", "web", status=4).stderr.split())
    assert "stranger" in said and "; it stays paused with its memory; `pinfold guest restart web` tries again" in said
    _virsh(synthetic_lab, "destroy", "stranger")
    _follow(pinfold, said)
    assert json.loads(pinfold("guest", "show", "web", "--json").stdout)["guest"]["state"] == "running"


_STRANGER = """<domain type='{kind}'><name>stranger</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<cputune><vcpupin vcpu='0' cpuset='{cpu}'/></cputune><os><type arch='x86_64' machine='pc'>hvm</type>
<loader readonly='yes' type='rom'>{rom}</loader></os><devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>"""


def test_a_definition_with_another_scheduler_is_written_again_by_the_record(
    pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path
) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    pinfold("guest", "stop", "web")
    text = _virsh(synthetic_lab, "dumpxml", "--inactive", "web")
    changed = tmp_path / "changed.xml"
    changed.write_text(text.replace("</cputune>", "<vcpusched vcpus='0' scheduler='fifo' priority='1'/></cputune>"))
    _virsh(synthetic_lab, "define", str(changed))
    _follow(pinfold, _finding(pinfold, "definition-realtime")["advice"])
    assert "0 findings" in pinfold("audit").stdout


def test_a_record_that_was_damaged_is_written_again(pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    pinfold("guest", "stop", "web")
    _virsh(synthetic_lab, "metadata", "web", "urn:pinfold:guest:2", "--config", "--key", "pinfold", "--set", "<guest/>")
    _follow(pinfold, _finding(pinfold, "record-unreadable")["advice"], NAME="share")
    assert "0 findings" in pinfold("audit").stdout
    assert json.loads(pinfold("guest", "show", "web", "--json").stdout)["guest"]["record"]["flavor"] == "share"


def test_a_refused_replace_prints_the_reasons_of_fit(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    pinfold("guest", "stop", "web")
    change_pools(tmp_path, "0-1", "20")
    pinfold("guest", "start", "db", "--flavor", "pinned", "--rom", str(idle_rom))
    said = pinfold("guest", "replace", "web", status=1).stdout
    foretold = pinfold("fit", "--flavor", "share", status=1).stdout
    assert "cell 1 has 0 free dedicated pCPUs, 1 needed" in said
    assert said.splitlines()[1:] == foretold.splitlines()[1:]
    assert json.loads(pinfold("guest", "replace", "web", "--json", status=1).stdout)["kind"] == "insufficient"
