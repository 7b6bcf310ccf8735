"""`pinfold fit` on hosts that do not exist: everything but libvirt is real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold
from tests.rig.fits import taken

from pinfold.cli.views.fit import refusal_view
from pinfold.core.fit.answer import NoFit
from pinfold.core.reasons import Kind, Reason, ReasonCode

HOST = ("--host-text", "pack:2 core:8 pu:2 far mem:16384", "--shared", "0-1,8-9,16-17,24-25", "--dedicated", "2-7,10-15,18-23,26-31")
PINNED = ("--vcpus", "4", "--ram", "2048", "-p", "hw:cpu_policy=dedicated")


def test_a_guest_that_fits_is_shown_vcpu_by_vcpu(pinfold: Pinfold) -> None:
    answer = pinfold("fit", *PINNED, "-p", "hw:emulator_threads_policy=share", *HOST)
    assert answer.status == 0
    assert answer.err == ""
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[0] == "fits on the described host: 4 vCPUs, 2 GiB"
    assert "vCPU 0 pCPU 2 core 2,18" in lines
    assert "vCPU 3 pCPU 19 core 3,19" in lines
    assert "emulator threads 0-1,8-9,16-17,24-25 the overhead pool (policy share)" in lines
    assert "overhead booked 28 millicpu of 4,000 in all" in lines


def test_a_refusal_gives_every_reason_and_status_1(pinfold: Pinfold) -> None:
    answer = pinfold("fit", "--vcpus", "13", "--ram", "64", "-p", "hw:cpu_policy=dedicated", *HOST)
    assert answer.status == 1
    assert answer.out.startswith("does not fit on the described host; never, not even when it is empty\n")
    assert "  cell 0 has 12 dedicated pCPUs, 13 needed\n" in answer.out
    assert "  cell 1 has 12 dedicated pCPUs, 13 needed\n" in answer.out


@pytest.mark.parametrize(
    ("code", "kind", "ever"),
    [
        (ReasonCode.DEDICATED_PCPUS, Kind.INFEASIBLE, "never, not even when it is empty"),
        (ReasonCode.DEDICATED_PCPUS, Kind.INSUFFICIENT, "it may after guests have left"),
        (ReasonCode.OVERHEAD_POOL_OFFLINE, Kind.INSUFFICIENT, "it may once its overhead pool is online"),
    ],
)
def test_a_refusal_says_what_waiting_could_change(code: ReasonCode, kind: Kind, ever: str) -> None:
    first = refusal_view(NoFit(reasons=(Reason(code=code, kind=kind),)), "c01")[0]
    assert str(first) == f"does not fit on c01; {ever}"


def test_json_says_the_same(pinfold: Pinfold) -> None:
    answer = pinfold("fit", *PINNED, "-p", "hw:emulator_threads_policy=isolate", *HOST, "--json")
    document = json.loads(answer.out)
    (candidate,) = document["candidates"]
    assert (candidate["revision"], document["refusals"]) == (None, [])
    assert candidate["fit"]["cells"][0]["pins"] == [[0, 2], [1, 18], [2, 3], [3, 19]]
    assert (candidate["fit"]["emulator_placement"], candidate["fit"]["emulator"], candidate["fit"]["emulator_pcpu"]) == ("isolated", "4", 4)
    refusal = pinfold("fit", "--vcpus", "13", "--ram", "64", "-p", "hw:cpu_policy=dedicated", *HOST, "--json")
    document = json.loads(refusal.out)
    assert refusal.status == 1
    assert document["candidates"] == []
    (refused,) = document["refusals"]
    assert refused["kind"] == "infeasible"
    assert {"dedicated-pcpus"} <= {reason["code"] for reason in refused["reasons"]}


def test_the_definition_is_printed_with_xml(pinfold: Pinfold) -> None:
    answer = pinfold("fit", *PINNED, "-p", "hw:emulator_threads_policy=share", *HOST, "--xml")
    assert answer.status == 0
    assert '<vcpupin vcpu="0" cpuset="2" />' in answer.out
    assert '<emulatorpin cpuset="0-1,8-9,16-17,24-25" />' in answer.out


def test_a_flavor_comes_by_name_and_options_replace_its_parts(pinfold: Pinfold, tmp_path: Path) -> None:
    flavors = tmp_path / "flavors.toml"
    flavors.write_text('[flavors."rt.share"]\nvcpus = 2\nram = 512\n[flavors."rt.share".properties]\n"hw:cpu_policy" = "dedicated"\n')
    answer = pinfold("fit", "--flavors", str(flavors), "--flavor", "rt.share", "--vcpus", "3", *HOST, "--json")
    assert json.loads(answer.out)["candidates"][0]["fit"]["vcpus"] == 3
    assert json.loads(answer.out)["candidates"][0]["fit"]["memory_mib"] == 512


def test_a_flavor_comes_as_openstack_prints_it(pinfold: Pinfold, tmp_path: Path) -> None:
    flavor = tmp_path / "flavor.json"
    flavor.write_text(json.dumps({"name": "nfv", "vcpus": 2, "ram": 512, "disk": 0, "properties": {"hw:cpu_policy": "dedicated"}}))
    answer = pinfold("fit", "--flavor-json", str(flavor), *HOST, "--json")
    assert taken(json.loads(answer.out)["candidates"][0]["fit"]) == "2,18"


@pytest.mark.parametrize("shape", ["cpu-less-cell", "eight-cells", "memory-less-cell", "sparse-offline", "two-pcpus-kvm"])
def test_another_host_comes_as_libvirt_describes_it(pinfold: Pinfold, shape: str) -> None:
    recorded = Path(__file__).parents[1] / "hosts" / shape / "capabilities.xml"
    answer = pinfold("fit", "--vcpus", "1", "--ram", "64", "--capabilities", str(recorded))
    assert answer.status == 0, answer.err
    assert f"fits on {recorded}" in " ".join(answer.out.split())


def test_a_described_host_has_the_traits_of_its_pools(pinfold: Pinfold) -> None:
    wanted = (*PINNED, "-p", "trait:CUSTOM_OVERHEAD_POOL=required")
    assert pinfold("fit", *wanted, *HOST).status == 0
    refused = pinfold("fit", *wanted, "--host-text", "core:4", "--dedicated", "1-3")
    assert (refused.status, "lacks the trait CUSTOM_OVERHEAD_POOL" in refused.out) == (1, True)


def test_without_a_described_host_libvirt_is_asked(pinfold: Pinfold) -> None:
    answer = pinfold("fit", *PINNED)
    assert answer.status == 3
    assert answer.err == (
        "pinfold: libvirt at qemu:///system cannot be reached: there is none; start it, or name another one with --connect; "
        "`pinfold doctor` says what this host lacks\n"
    )


@pytest.mark.parametrize("command", [("audit",), ("top",), ("repair",), ("guest", "list")])
def test_a_command_without_a_libvirt_names_the_uri_and_the_next_step(pinfold: Pinfold, command: tuple[str, ...]) -> None:
    answer = pinfold(*command)
    assert answer.status == 3 and "libvirt at qemu:///system" in answer.err and "`pinfold doctor`" in answer.err
    assert "pinfold doctor" not in pinfold("doctor").out, "the doctor itself does not send anybody to the doctor"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param(("-p", "hw:emulator_threads=share"), "did you mean hw:emulator_threads_policy?", id="a near-miss key"),
        pytest.param(("-p", "hw:emulator_thread_policy=share"), "did you mean hw:emulator_threads_policy?", id="another near-miss key"),
        pytest.param(("-p", "hw:emulator_threads_policy=share"), "it needs hw:cpu_policy dedicated or mixed", id="share without pins"),
        pytest.param(("-p", "hw:cpu_policy"), "KEY=VALUE is, as in hw:cpu_policy=dedicated", id="a property without a value"),
        pytest.param(("-p", "a=1", "-p", "a=2"), "--property a is given twice", id="a property given twice"),
        pytest.param(("--vcpus", "0"), "vcpus", id="no vCPU"),
        pytest.param(("--virt-type", "xen"), "--virt-type 'xen' is not allowed; kvm or qemu is", id="another hypervisor"),
        pytest.param(("--image", "absent"), "there is no image 'absent' in", id="an image that is not there"),
        pytest.param(("--image", "a", "--disk-file", "b"), "one of them is allowed", id="two disks"),
        pytest.param(("--template", "/nonexistent.xml"), "template /nonexistent.xml cannot be read", id="a template that is not there"),
        pytest.param(("--capabilities", "/dev/null"), "--capabilities and --host-text both describe a host", id="two hosts"),
        pytest.param(("--overhead", "2"), "overlap", id="pools that overlap"),
        pytest.param(("--flavor", "x"), "absent.toml cannot be read: No such file or directory", id="no flavors file"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(pinfold: Pinfold, argv: tuple[str, ...], sentence: str) -> None:
    vcpus = () if "--vcpus" in argv else ("--vcpus", "2")
    answer = pinfold("fit", *vcpus, "--ram", "64", *argv, *HOST)
    assert answer.status == 2, answer.err
    assert answer.out == ""
    assert sentence in answer.err
    assert answer.err.startswith("pinfold: ")
    assert answer.err.count("\n") == 1


def test_no_flavor_at_all_says_how_to_give_one(pinfold: Pinfold) -> None:
    answer = pinfold("fit", *HOST)
    assert answer.err == "pinfold: no flavor: give --flavor NAME, --flavor-json FILE, or --vcpus N and --ram MIB\n"


def test_a_bad_shape_is_refused(pinfold: Pinfold) -> None:
    answer = pinfold("fit", "--vcpus", "1", "--ram", "64", "--host-text", "core:banana")
    assert answer.status == 2
    assert "core:banana" in answer.err


def test_pools_outside_the_described_host_are_refused(pinfold: Pinfold) -> None:
    answer = pinfold("fit", "--vcpus", "1", "--ram", "64", "--host-text", "core:2", "--shared", "0-9")
    assert answer.status == 2
    assert "cpu_shared_set names pCPUs 2-9, which this host does not have" in answer.err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--ram", "0"), "--ram '0' is not allowed; a whole number of at least 1 is"),
        (("--ram", "64", "--disk-format", "vmdk"), "--disk-format 'vmdk' is not allowed; raw or qcow2 is"),
        (("--ram", "64", "--virt-type", "xen"), "--virt-type 'xen' is not allowed; kvm or qemu is"),
        (("--ram", "64", "--template", "./broken.xml"), "--template ./broken.xml: "),
    ],
)
def test_a_wrong_value_is_told_with_its_option(
    pinfold: Pinfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.xml").write_text("<domain")
    answer = pinfold("fit", "--vcpus", "1", "--host-text", "core:4", *argv)
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert sentence in answer.err


def test_a_flavor_names_a_template_of_the_configured_folder(pinfold: Pinfold, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "web.xml").write_text("<domain type='kvm'><name>x</name><os><type>hvm</type></os><title>ours</title></domain>")
    (tmp_path / "c.conf").write_text(f"[pinfold]\nstate_dir = {tmp_path}\n")
    asked = ("--vcpus", "1", "--ram", "64", "--host-text", "core:2", "--shared", "0-1", "--config", str(tmp_path / "c.conf"))
    named = pinfold("fit", *asked, "--xml", "-p", "pinfold:template=web")
    assert "<title>ours</title>" in named.out, named.err
    assert "there is no template db in" in pinfold("fit", *asked, "-p", "pinfold:template=db").err
    both = pinfold("fit", *asked, "-p", "pinfold:template=web", "--template", "db")
    assert "--template is db, but the flavor or image names template web" in both.err
