"""`pinfold nova` on nodes that are described by a file, with flavors from a file. With a cloud it is in `tests/real/clients`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Pinfold

CAPABILITIES = Path(__file__).parents[1] / "hosts/one-cell-smt/capabilities.xml"
POOLS = "[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1-3\n"
SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}


@pytest.fixture
def written(pinfold: Pinfold, tmp_path: Path) -> Pinfold:
    """`provider-config` for a described node whose nova.conf is the first argument."""

    def _run(conf: str, *more: str) -> object:
        (tmp_path / "nova.conf").write_text(conf)
        return pinfold("nova", "provider-config", "--config", str(tmp_path / "nova.conf"), "--capabilities", str(CAPABILITIES), *more)

    return _run  # type: ignore[return-value]


def test_the_inventory_is_that_of_the_pool_and_the_ratio_is_said(written: Pinfold) -> None:
    answer = written("[DEFAULT]\ncpu_allocation_ratio = 8\n" + POOLS)
    assert answer.status == 0, answer.err
    (provider,) = yaml.safe_load(answer.out)["providers"]
    assert provider["identification"] == {"uuid": "$COMPUTE_NODE"}
    assert provider["inventories"]["additional"][0]["CUSTOM_OVERHEAD_MILLICPU"]["total"] == 500
    assert "# pCPU 0 of cpu_shared_set carries overhead threads too: where cpu_allocation_ratio has been 8, set it to 4" in answer.out


def test_the_options_of_overhead_count(written: Pinfold) -> None:
    answer = written(POOLS + "[overhead]\nshared_fraction = 0.25\nbooking = report\n", "--json")
    found = json.loads(answer.out)
    assert found["cpu_allocation_ratio"] == {"before": 4.0, "after": 3.0}
    assert (found["inventory"]["total"], found["inventory"]["allocation_ratio"]) == (250, 2**31 - 1)


def test_vcpu_pin_set_is_read_as_nova_reads_it(written: Pinfold) -> None:
    answer = written("[DEFAULT]\nvcpu_pin_set = 1-3\n[compute]\ncpu_shared_set = 0\n", "--json")
    found = json.loads(answer.out)
    assert (found["inventory"]["total"], found["cpu_allocation_ratio"]) == (1000, None)


def test_the_file_is_written_for_everybody_to_read_whatever_the_umask(written: Pinfold, tmp_path: Path) -> None:
    folder = tmp_path / "provider_config"
    folder.mkdir()
    (folder / "other.yaml").write_text("providers: [{identification: {uuid: $COMPUTE_NODE}}]\n")
    before = os.umask(0o077)
    try:
        answer = written(POOLS, "--output", str(folder / "overhead.yaml"))
    finally:
        os.umask(before)
    assert answer.status == 0, answer.err
    assert stat.S_IMODE((folder / "overhead.yaml").stat().st_mode) == 0o644
    assert sorted(file.name for file in folder.iterdir()) == ["other.yaml", "overhead.yaml"]
    out, err = "".join(answer.out.split()), " ".join(answer.err.split())  # a long path is folded
    assert out.startswith(f"{folder}/overhead.yaml:500millicpu;nova-computereadsitwhenitstarts")
    assert "yaml names $COMPUTE_NODE too; if both files do, nova-compute does not start" in err


@pytest.mark.parametrize(
    ("conf", "more", "sentence"),
    [
        ("[compute]\ncpu_dedicated_set = 1-3\n", (), "cpu_shared_set is not set: Nova then lets emulator threads of policy share float"),
        (POOLS + "cpu_overhead_set = 4\n", (), "[compute] cpu_overhead_set in {conf} is not Nova's, which runs emulator threads of"),
        (POOLS + "[overhead]\nshared_fraction = 0\n", (), "[overhead] shared_fraction 0 leaves no millicpu of cpu_shared_set for overhead"),
        ("[compute]\ncpu_shared_set = 99\n", (), "cpu_shared_set names pCPU 99, which this host does not have"),
        (POOLS, ("--name", "a", "--uuid", "b"), "--uuid and --name both name the resource provider; one of them is allowed"),
        (
            POOLS,
            ("--output", "/tmp/overhead.yml"),
            "--output /tmp/overhead.yml is not allowed; Nova reads only files whose names end with .yaml",
        ),
        (POOLS, ("--output", "/nonexistent/o.yaml"), "--output /nonexistent/o.yaml cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    written: Pinfold, tmp_path: Path, conf: str, more: tuple[str, ...], sentence: str
) -> None:
    answer = written(conf, *more)
    assert (answer.status, answer.out, answer.err.count("pinfold: ") - answer.err.count("pinfold: warning: ")) == (2, "", 1), answer
    assert sentence.format(conf=tmp_path / "nova.conf") in answer.err


def test_without_a_hypervisor_nothing_is_written(pinfold: Pinfold, tmp_path: Path) -> None:
    (tmp_path / "nova.conf").write_text(POOLS)
    answer = pinfold("nova", "provider-config", "--config", str(tmp_path / "nova.conf"), "--output", str(tmp_path / "o.yaml"))
    assert (answer.status, (tmp_path / "o.yaml").exists()) == (3, False)


def _flavors(tmp_path: Path, *rows: dict[str, object]) -> str:
    plain = {"ID": "7", "Name": "pinned", "RAM": 512, "Disk": 1, "Ephemeral": 0, "VCPUs": 4, "Swap": 0, "Properties": SHARE}
    (tmp_path / "flavors.json").write_text(json.dumps([plain | row for row in rows]))
    return str(tmp_path / "flavors.json")


def test_the_commands_are_lines_for_a_shell(pinfold: Pinfold, tmp_path: Path) -> None:
    hostile = "x'; touch hacked #\u202e"
    rows = [{}, {"ID": "8", "Name": "plain", "Properties": {}}, {"ID": "9", "Name": hostile}]
    answer = pinfold("nova", "flavors", "--flavor-json", _flavors(tmp_path, *rows))
    assert answer.status == 0, answer.err
    specs = "--property resources:CUSTOM_OVERHEAD_MILLICPU=48 --property trait:CUSTOM_OVERHEAD_POOL=required"
    assert answer.out.splitlines() == [
        "# flavor pinned books nothing",
        f"openstack flavor set {specs} pinned",
        "# flavor x'; touch hacked #\\u202e books nothing",
        f"openstack flavor set {specs} 9",
    ]
    said = subprocess.run(
        ["sh", "-c", f'openstack() {{ printf "%s|" "$@"; echo; }}\n{answer.out}'], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    words = [line.split("|")[-2] for line in said.stdout.splitlines()]
    assert (words, (tmp_path / "hacked").exists()) == (["pinned", "9"], False)


def test_flavors_that_are_right_or_rid_of_it_need_no_command(pinfold: Pinfold, tmp_path: Path) -> None:
    right = SHARE | {"resources:CUSTOM_OVERHEAD_MILLICPU": "58", "trait:CUSTOM_OVERHEAD_POOL": "required"}
    file = _flavors(tmp_path, {"Properties": right})
    assert pinfold("nova", "flavors", "--flavor-json", file, "--nics", "2").out == "# every flavor books what its guests need\n"
    removal = json.loads(pinfold("nova", "flavors", "--flavor-json", file, "--remove", "--cloud", "c", "--json").out)
    assert removal["flavors"][0]["command"] == (
        "openstack --os-cloud c flavor unset --property resources:CUSTOM_OVERHEAD_MILLICPU --property trait:CUSTOM_OVERHEAD_POOL pinned"
    )
    assert pinfold("nova", "flavors", "--flavor-json", _flavors(tmp_path, {}), "--remove").out == "# no flavor books the overhead pool\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "flavor file {file} is not JSON"),
        ("[{}]", "flavor file {file}, flavor 1 has no id; it must be what `openstack flavor list --all --long -f json` prints"),
    ],
)
def test_a_file_that_holds_no_flavors_is_refused(pinfold: Pinfold, tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(text)
    answer = pinfold("nova", "flavors", "--flavor-json", str(file))
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert sentence.format(file=file) in answer.err


def test_a_missing_client_is_told_with_what_to_install(pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    answer = pinfold("nova", "flavors", "--cloud", "c")
    assert (answer.status, answer.err) == (
        3,
        "pinfold: the `openstack` client is not installed; install python-openstackclient and osc-placement (pip, or the distribution's)\n",
    )


@pytest.mark.parametrize(
    ("prints", "status", "sentence"),
    [
        ("echo 'Cloud c was not found.' >&2; exit 1", 3, "`openstack flavor list --all --long` failed: Cloud c was not found."),
        ("exit 7", 3, "`openstack flavor list --all --long` failed: status 7"),
        ("echo hello", 2, "the cloud's answer is not JSON"),
    ],
)
def test_a_client_that_fails_is_told_in_a_sentence(
    pinfold: Pinfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, status: int, sentence: str
) -> None:
    (tmp_path / "openstack").write_text(f"#!/bin/sh\n{prints}\n")
    (tmp_path / "openstack").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answer = pinfold("nova", "flavors", "--cloud", "c")
    assert (answer.status, answer.err.count("\n")) == (status, 1)
    assert sentence in answer.err
