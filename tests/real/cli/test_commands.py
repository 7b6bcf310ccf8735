"""The job of one host from the command line: configure, start, see the proof, stop. Real libvirt, real guests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.real.cli.conftest import Pinfold
from tests.real.host.faults import Domain
from tests.real.patience import until
from tests.rig.processes import virsh

from pinfold.lab.daemon import LabHost


def test_a_guest_is_started_shown_stopped_and_restarted(pinfold: Pinfold, idle_rom: Path) -> None:
    started = pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    assert "policy share: emulator threads on 0-1,16-17, the overhead pool" in started.stdout
    assert "may run exactly where recorded" in started.stdout
    assert "witness: lab records (synthetic)" in started.stdout
    assert "✗" not in started.stdout
    assert pinfold("guest", "list").stdout.splitlines()[1].split()[:2] == ["web", "running"]
    shown = json.loads(pinfold("guest", "show", "web", "--json").stdout)
    assert shown["placed"] is True
    threads = {thread["thread_class"]: thread for thread in shown["threads"]}
    assert threads["vcpu"]["allowed"] == threads["vcpu"]["recorded"]
    assert threads["emulator"]["allowed"] == "0-1,16-17"
    assert "keeps its pCPUs" in pinfold("guest", "stop", "web").stdout
    assert "A  web" in pinfold("host", "map").stdout, "a stopped guest keeps its claim"
    assert "running after" in pinfold("guest", "restart", "web").stdout
    assert json.loads(pinfold("guest", "stop", "web", "--remove", "--json").stdout)["removed"] is True
    assert pinfold("guest", "list").stdout == "no guests\n"


def test_the_console_log_of_a_guest_survives_a_restart_and_goes_with_the_guest(
    pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path
) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    until(lambda: "PROBE-UP" in pinfold("guest", "console-log", "web").stdout, "it prints")
    (log,) = (tmp_path / "state" / "serial").iterdir()
    assert log.stat().st_mode & 0o777 == 0o600
    assert virsh(synthetic_lab, "ttyconsole", "web").startswith("/dev/pts/"), "`virsh console` works"
    pinfold("guest", "stop", "web")
    pinfold("guest", "restart", "web")
    until(lambda: pinfold("guest", "console-log", "web").stdout.count("PROBE-UP") == 2, "it prints once more")
    log.write_bytes(b"one\r\n\x1b[2Jtwo\r\n")
    assert pinfold("guest", "console-log", "web", "--lines", "1").stdout == "\\x1b[2Jtwo\n"
    assert pinfold("guest", "console-log", "web", "--raw").stdout == "one\n\x1b[2Jtwo\n", "text mode reads the line ends"
    assert json.loads(pinfold("guest", "console-log", "web", "--json").stdout)["output"] == "one\r\n\x1b[2Jtwo\r\n"
    pinfold("guest", "stop", "web", "--remove")
    assert list(log.parent.iterdir()) == []
    assert "there is no guest" in pinfold("guest", "console-log", "web", status=2).stderr


def test_doctor_in_a_lab_prints_no_command_for_the_libvirt_of_the_machine(pinfold: Pinfold, tmp_path: Path) -> None:
    specs = {"hw:cpu_policy": "dedicated", "hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0", "hw:mem_page_size": "large"}
    lines = ["[flavors.rt]", "vcpus = 2", "ram = 64", "[flavors.rt.properties]", *(f'"{key}" = "{value}"' for key, value in specs.items())]
    (tmp_path / "flavors.toml").write_text("\n".join(lines) + "\n")
    done = pinfold("doctor", "--json", status=1)
    checks = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["libvirt"]["health"] == "good"
    assert checks["huge pages"]["words"].startswith("this lab has none; a new lab has some with a topology such as")
    assert not any("systemctl" in check["repair"] or "hugetlbfs" in check["repair"] for check in checks.values())


def test_the_host_is_drawn_shown_and_audited(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    pinfold("guest", "start", "a", "--flavor", "share", "--rom", str(idle_rom))
    pinfold("guest", "start", "b", "--flavor", "isolate", "--rom", str(idle_rom))
    text = pinfold("host", "map").stdout
    assert {"A0", "B0", "Be", "ve"} & set(text.replace("│", " ").split()) >= {"A0", "B0", "Be"}
    picture = tmp_path / "map.svg"
    assert pinfold("host", "map", "--svg", str(picture)).stdout == ""
    drawn = picture.read_text()
    assert ": vCPU 0 of a</title>" in drawn
    assert ": emulator threads of b</title>" in drawn
    refused = pinfold("host", "map", "--svg", str(tmp_path), status=2).stderr
    assert refused == f"pinfold: --svg {tmp_path}: cannot be written (Is a directory)\n"
    owners = [
        owner["name"]
        for cell in json.loads(pinfold("host", "map", "--json").stdout)["cells"]
        for core in cell["cores"]
        for pcpu in core["pcpus"]
        for owner in pcpu["owners"]
    ]
    assert sorted(owners) == ["a", "b", "b"]
    assert json.loads(pinfold("host", "show", "--json").stdout)["overhead"] == {
        "pool": "0-1,16-17",
        "booked_millicpu": 22,
        "total_millicpu": 2000,
        "guests": 1,
        "others": 0,
    }
    assert "2 guests looked at: 0 findings" in pinfold("audit").stdout
    assert "dedicated  2-15,18-31" in pinfold("config", "check").stdout


def test_what_fit_says_is_what_start_does(pinfold: Pinfold, idle_rom: Path) -> None:
    foretold = json.loads(pinfold("fit", "--flavor", "isolate", "--json").stdout)["candidates"][0]["fit"]
    started = json.loads(pinfold("guest", "start", "c", "--flavor", "isolate", "--rom", str(idle_rom), "--json").stdout)
    fit = started["guest"]["record"]["fit"]
    assert fit == foretold
    assert list(started["seconds"]) == ["survey", "fit", "disk", "start paused", "verify", "survey again", "resume"]


def test_the_definition_that_fit_prints_is_one_that_libvirt_takes(
    pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path
) -> None:
    xml = tmp_path / "guest.xml"
    xml.write_text(pinfold("fit", "--flavor", "share", "--rom", str(idle_rom), "--xml").stdout)
    done = subprocess.run(
        ["virsh", "-q", "-c", synthetic_lab.uri, "define", "--validate", str(xml)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_refused_start_leaves_nothing_and_says_why(pinfold: Pinfold, idle_rom: Path) -> None:
    refused = pinfold(
        "guest", "start", "big", "--vcpus", "15", "--ram", "64", "-p", "hw:cpu_policy=dedicated", "--rom", str(idle_rom), status=1
    )
    assert "cell 0 has 14 dedicated pCPUs, 15 needed" in refused.stdout
    assert pinfold("guest", "list").stdout == "no guests\n"


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        (("guest", "start", "x", "--flavor", "share", "--rom", "/nonexistent"), 2, "ROM /nonexistent does not exist"),
        (("guest", "start", "x y", "--flavor", "share", "--rom", "/nonexistent"), 2, "guest name 'x y' is not allowed"),
        (("guest", "start", "x", "--flavor", "share"), 2, "there is nothing to boot: give --image, --disk-file, --kernel, --rom or"),
        (("guest", "show", "nobody"), 2, "there is no guest 'nobody'"),
        (("guest", "stop", "nobody"), 2, "there is no guest 'nobody'"),
        (("guest", "list", "-c", "qemu+unix:///system?socket=/nonexistent"), 3, "cannot be reached"),
    ],
)
def test_errors_are_one_sentence_with_a_status(pinfold: Pinfold, argv: tuple[str, ...], status: int, sentence: str) -> None:
    done = pinfold(*argv, status=status)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_name_that_is_taken_is_a_conflict(pinfold: Pinfold, idle_rom: Path) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    again = pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom), status=4)
    assert "the name of guest web" in again.stderr


def test_procfs_is_the_witness_on_the_machines_own_topology_and_drift_is_seen(real_pinfold: Pinfold, idle_rom: Path) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one pCPU")
    started = json.loads(real_pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom), "--json").stdout)
    assert started["witness"] == "procfs"
    main = started["guest"]["pid"]
    for thread in started["threads"]:
        if thread["thread_class"] in ("vcpu", "emulator"):
            assert os.sched_getaffinity(thread["tid"]) == ({1} if thread["thread_class"] == "vcpu" else {0})
    vcpu = next(thread["tid"] for thread in started["threads"] if thread["thread_class"] == "vcpu")
    try:
        os.sched_setaffinity(vcpu, {0})
    except OSError:
        pytest.skip("the cpuset cgroup keeps the thread where it is")
    shown = real_pinfold("guest", "show", "web", status=1).stdout
    assert "✗" in shown
    audited = json.loads(real_pinfold("audit", "--json", status=1).stdout)
    (finding,) = (one for guest in audited["guests"] for one in guest["findings"] if one["severity"] == "drift")
    assert finding["code"] == "vcpu-thread"
    assert (finding["recorded"], finding["observed"]) == ("1", "0")
    subprocess.run(finding["repair"], shell=True, check=True, capture_output=True)
    assert "✗" not in real_pinfold("guest", "show", "web").stdout
    assert main in {thread["tid"] for thread in started["threads"]}


def test_a_guest_of_novas_is_shown_by_its_pins(pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path) -> None:
    xml = tmp_path / "nova.xml"
    xml.write_text(
        "<domain type='qemu'><name>instance-00000007</name><metadata>"
        "<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:flavor name='nfv'>"
        "<nova:memory>8</nova:memory><nova:vcpus>2</nova:vcpus></nova:flavor></nova:instance></metadata>"
        "<memory unit='MiB'>8</memory><vcpu placement='static'>2</vcpu>"
        "<cputune><vcpupin vcpu='0' cpuset='30'/><vcpupin vcpu='1' cpuset='31'/><emulatorpin cpuset='0-1,16-17'/></cputune>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{idle_rom}</loader></os>"
        "<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
    )
    subprocess.run(["virsh", "-q", "-c", synthetic_lab.uri, "create", str(xml)], check=True, capture_output=True)
    shown = json.loads(pinfold("guest", "show", "instance-00000007", "--json").stdout)
    assert shown["guest"]["record"] is None
    assert shown["guest"]["nova"]["flavor"] == "nfv"
    assert {thread["recorded"] for thread in shown["threads"] if thread["thread_class"] == "vcpu"} == {"30", "31"}
    assert "instance-00000007  Nova's" in pinfold("audit").stdout
    assert "policy share" in pinfold("guest", "show", "instance-00000007").stdout
    (line,) = [line for line in pinfold("guest", "list").stdout.splitlines() if line.startswith("instance-00000007")]
    assert "Nova's" in line and "share, told from" in line
    refused = pinfold("guest", "stop", "instance-00000007", status=2)
    assert "is not ours" in refused.stderr


def test_a_repair_says_what_it_leaves_and_why(pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path) -> None:
    assert pinfold("repair").stdout == "✓ no running guest of ours has drifted\n"
    domain = tmp_path / "floats.xml"
    domain.write_text(Domain(name="instance-00000009", specs={}).text(kind="qemu", rom=str(idle_rom)))
    for verb, what in (("define", str(domain)), ("start", "instance-00000009")):
        subprocess.run(["virsh", "-q", "-c", synthetic_lab.uri, verb, what], check=True, capture_output=True)
    done = pinfold("repair", status=1)
    assert "nothing has drifted" not in done.stdout
    assert "✗ guest instance-00000009: its floating vCPUs lie on" in done.stdout
    assert "left as it is: the guest is Nova's, and a repair moves guests of ours alone" in done.stdout
    (left,) = json.loads(pinfold("repair", "--json", status=1).stdout)["left"]
    assert (left["finding"]["code"], left["why"]) == ("outside-pool", "the guest is Nova's, and a repair moves guests of ours alone")


def test_the_free_slots_of_the_host_are_the_starts_that_it_takes(pinfold: Pinfold, idle_rom: Path, tmp_path: Path) -> None:
    wide = ("--vcpus", "9", "--ram", "64", "-p", "hw:cpu_policy=dedicated", "--rom", str(idle_rom))
    flavors = tmp_path / "wide.toml"
    flavors.write_text('[flavors.wide]\nvcpus = 9\nram = 64\nproperties = {"hw:cpu_policy" = "dedicated"}\n')
    left = json.loads(pinfold("host", "capacity", "--flavors", str(flavors), "--json").stdout)
    assert left["flavors"] == [{"flavor": "wide", "slots": 2}]
    assert left["stranded"] == [{"cause": "pcpus", "pcpus": 10}]
    for name in ("a", "b"):
        pinfold("guest", "start", name, *wide)
    shown = pinfold("host", "capacity", "--flavors", str(flavors)).stdout
    assert "10 of 28 dedicated pCPUs free" in shown
    assert "no flavor can use 10 free pCPUs: there are too few in one place for any guest" in shown
    pinfold("guest", "start", "c", *wide, status=1)


def test_nodes_that_placing_refuses_are_audited(pinfold: Pinfold, synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path) -> None:
    old = tmp_path / "nova.conf"
    old.write_text(f"[DEFAULT]\nvcpu_pin_set = 4-31\nreserved_host_cpus = 2\n[libvirt]\nconnection_uri = {synthetic_lab.uri}\n")
    managed = tmp_path / "managed.conf"
    managed.write_text(
        "[compute]\ncpu_shared_set = 0-1\ncpu_dedicated_set = 2-31\n"
        f"[libvirt]\ncpu_power_management = true\nconnection_uri = {synthetic_lab.uri}\n"
    )
    for file, option in ((old, "vcpu_pin_set"), (managed, "cpu_power_management")):
        for argv in (("audit",), ("host", "map"), ("host", "show"), ("guest", "list")):
            assert pinfold(*argv, "--config", str(file)).stderr == ""
        for argv in (
            ("guest", "start", "web", "--vcpus", "1", "--ram", "16", "--rom", str(idle_rom)),
            ("fit", "--vcpus", "1", "--ram", "16"),
        ):
            assert f"{option} in {file}" in pinfold(*argv, "--config", str(file), status=2).stderr
    assert "28 pCPUs, 2 kept for the host" in pinfold("host", "show", "--config", str(old)).stdout


def test_a_shell_completes_guests_and_flavors_of_the_host(pinfold: Pinfold, idle_rom: Path) -> None:
    pinfold("guest", "start", "web", "--flavor", "share", "--rom", str(idle_rom))
    for line, names in (("guest show ", ["web"]), ("guest stop x", []), ("repair w", ["web"]), ("guest start a --flavor s", ["share"])):
        words = f"pinfold {line}"
        done = pinfold(_PINFOLD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
        assert (done.stdout.split(), done.stderr) == (names, ""), line
