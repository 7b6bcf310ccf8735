"""`pinfold config sample|check|clouds` and the configuration that every command reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Pinfold
from tests.rig.fits import taken

from pinfold.config.sample import sample


def test_sample_prints_a_file(pinfold: Pinfold) -> None:
    answer = pinfold("config", "sample")
    assert answer.out == sample()
    names = {(one["group"], one["name"]) for one in json.loads(pinfold("config", "sample", "--json").out)["options"]}
    assert ("compute", "cpu_dedicated_set") in names


def test_check_of_a_good_file_finds_nothing(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "good.conf"
    path.write_text("[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n")
    answer = pinfold("config", "check", "--offline", str(path))
    assert answer.status == 0
    assert f"read {path}" in answer.out
    assert "✓ nothing found" in answer.out


@pytest.mark.parametrize(
    ("line", "locality", "words"),
    [("", "pool", "run on the whole overhead pool"), ("locality = prefer_local\n", "prefer_local", "on the guest's cells")],
)
def test_check_says_where_overhead_threads_run_on_the_pool(pinfold: Pinfold, tmp_path: Path, line: str, locality: str, words: str) -> None:
    path = tmp_path / "good.conf"
    path.write_text(f"[overhead]\n{line}")
    shown = " ".join(pinfold("config", "check", "--offline", str(path)).out.split())
    assert f" locality {locality}: overhead threads of policy share" in shown and words in shown
    assert json.loads(pinfold("config", "check", "--offline", str(path), "--json").out)["locality"] == locality


def test_check_says_what_networks_connect_to(pinfold: Pinfold, tmp_path: Path) -> None:
    path, networks = tmp_path / "good.conf", tmp_path / "networks.toml"
    path.write_text("[networks]\nfile = networks.toml\n")
    networks.write_text(
        '[networks.lan]\nkind = "bridge"\nsource = "br0"\nsubnet = "192.0.2.0/24"\nrange = "192.0.2.10-192.0.2.19"\n'
        '[networks.out]\nkind = "user"\n'
    )
    shown = " ".join(pinfold("config", "check", "--offline", str(path)).out.split())
    assert "network lan bridge br0; guests get addresses from 192.0.2.10 to 192.0.2.19 in 192.0.2.0/24" in shown
    assert "network out user; guests ask" in shown and "nothing found" in shown
    document = json.loads(pinfold("config", "check", "--offline", str(path), "--json").out)
    assert set(document["networks"]) == {"lan", "out"}


def test_check_names_slips_repeats_and_broken_flavors_with_status_1(pinfold: Pinfold, tmp_path: Path) -> None:
    (tmp_path / "flavors.toml").write_text(
        '[flavors.bad]\nvcpus = 1\nram = 64\n[flavors.bad.properties]\n"hw:emulator_threads" = "share"\n'
    )
    path = tmp_path / "bad.conf"
    path.write_text("[compute]\ncpu_overhed_set = 0\ncpu_shared_set = 0\ncpu_shared_set = 1\n[pinfold]\nflavors_file = flavors.toml\n")
    answer = pinfold("config", "check", str(path), "--json")
    document = json.loads(answer.out)
    assert answer.status == 1
    assert len(document["warnings"]) == 3
    assert "cpu_overhead_set is meant" in document["warnings"][0]
    assert "more than once" in document["warnings"][1]
    assert "flavor bad: hw:emulator_threads is not a known extra spec" in document["warnings"][2]
    assert document["host"].startswith("not checked against this host: libvirt at qemu:///system cannot be reached")


def test_check_names_files_that_make_no_image(pinfold: Pinfold, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("x.raw", "x.qcow2", "good.raw"):
        (images / name).write_bytes(b"")
    path = tmp_path / "pinfold.conf"
    path.write_text("[compute]\ncpu_shared_set = 0\n[pinfold]\nimages_dir = images\n")
    answer = pinfold("config", "check", "--offline", str(path), "--json")
    assert answer.status == 1
    assert json.loads(answer.out)["warnings"] == [f"{images}: x.qcow2 and x.raw share one name; one file for each name is allowed"]


def test_check_of_pools_that_overlap_needs_no_host(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "pinfold.conf"
    path.write_text("[compute]\ncpu_shared_set = 0-1\ncpu_dedicated_set = 1-3\n", encoding="utf-8")
    answer = pinfold("config", "check", "--offline", str(path))
    assert answer.status == 2
    assert "✗ cpu_shared_set and cpu_dedicated_set overlap in pCPU 1" in answer.out


def test_check_of_a_file_that_cannot_be_used_is_status_2(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "bad.conf"
    path.write_text("[DEFAULT]\nvcpu_pin_set = 1-3\n")
    answer = pinfold("config", "check", str(path))
    assert answer.status == 2
    assert "write [compute] cpu_dedicated_set for pinned" in " ".join(answer.out.split())


def test_check_takes_its_files_by_option_too(pinfold: Pinfold, tmp_path: Path) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("[compute]\ncpu_shared_set = 0\n")
    second.write_text("[compute]\ncpu_dedicated_set = 1\n")
    answer = pinfold("config", "check", "--offline", "--config", str(first), "--config", str(second))
    assert (answer.status, answer.err) == (0, "")
    assert f"read {first}, {second}" in " ".join(answer.out.split())
    both = pinfold("config", "check", "--offline", str(first), "--config", str(second), "--json")
    assert json.loads(both.out)["files"] == [str(first), str(second)]


@pytest.mark.parametrize(
    "lines",
    [
        "[DEFAULT]\nvcpu_pin_set = 1-3",
        "[DEFAULT]\nreserved_host_cpus = 2",
        "[libvirt]\ncpu_power_management = true",
    ],
)
def test_check_of_a_nova_conf_that_only_audits_read_says_who_reads_it(pinfold: Pinfold, tmp_path: Path, lines: str) -> None:
    path = tmp_path / "nova.conf"
    path.write_text(lines + "\n")
    answer = pinfold("config", "check", str(path), "--json")
    assert answer.status == 2
    assert json.loads(answer.out)["host"] == (
        "not checked against this host: these files cannot be used to place guests; audit, repair, host and guest list|show read them"
    )
    for command in (("audit",), ("repair",), ("host", "map"), ("host", "show"), ("guest", "list"), ("guest", "show", "web")):
        done = pinfold(*command, "--config", str(path))
        assert done.err.startswith("pinfold: libvirt at qemu:///system cannot be reached"), command


def test_check_of_a_nova_conf_that_audits_cannot_read_either_says_so(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\nvcpu_pin_set = 1-3\n[compute]\ncpu_dedicated_set = 1-3\n")
    answer = pinfold("config", "check", "--offline", str(path), "--json")
    assert json.loads(answer.out)["host"] == "not checked against this host: these files cannot be used"


def test_check_lists_every_error(pinfold: Pinfold, tmp_path: Path) -> None:
    (tmp_path / "flavors.toml").write_text("[flavors.a]\nvcpus = 0\nram = 64\n[flavors.b]\nram = 64\n[flavors.c]\nvcpus = 1\nram = 64\n")
    path = tmp_path / "bad.conf"
    path.write_text(
        "[DEFAULT]\nvcpu_pin_set = 1-3\nreserved_host_memory_mb = much\nreserved_huge_pages = x\n"
        "[compute]\ncpu_shared_set = 0-\ncpu_dedicated_set = 4-x\n[libvirt]\nconnection_uri = xen:///\n"
        "[pinfold]\nflavors_file = flavors.toml\n[pinfold_api]\ntrusted_proxies = nowhere\ntls_key = k.pem\n"
    )
    gone = tmp_path / "broken.conf"
    gone.write_text("no key\n")
    answer = pinfold("config", "check", str(path), str(gone), "--json")
    document = json.loads(answer.out)
    assert (answer.status, answer.err) == (2, "")
    wanted = (
        "broken.conf",
        "vcpu_pin_set",
        "reserved_host_memory_mb",
        "[compute] cpu_shared_set in",
        "[compute] cpu_dedicated_set in",
        "reserved_huge_pages",
        "connection_uri",
        "trusted_proxies",
        "tls_key",
        "flavor 'a'",
        "flavor 'b'",
    )
    for word in wanted:
        assert sum(word in error for error in document["errors"]) == 1, word
    assert len(document["errors"]) == len(wanted)
    text = pinfold("config", "check", str(path), str(gone)).out
    assert text.count("✗ ") == len(wanted)
    assert "nothing found" not in text


def test_check_names_a_flavors_file_that_is_not_there(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[pinfold]\nflavors_file = gone.toml\n")
    answer = pinfold("config", "check", "--offline", str(path), "--json")
    assert answer.status == 1
    assert json.loads(answer.out)["warnings"] == [
        f"flavors file {tmp_path}/gone.toml ([pinfold] flavors_file) is not there: no command takes a flavor by its name"
    ]


def test_slips_are_said_by_every_command_that_reads_the_file(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "slip.conf"
    path.write_text("[compute]\ncpu_overhed_set = 0\n")
    answer = pinfold("fit", "--vcpus", "1", "--ram", "64", "--host-text", "core:2", "--config", str(path))
    assert answer.status == 0
    assert answer.err.startswith("pinfold: warning: [compute] cpu_overhed_set")


def test_the_pools_of_the_configuration_count_for_a_described_host(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "pools.conf"
    path.write_text("[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 2-3\n")
    argv = ("fit", "--vcpus", "2", "--ram", "64", "-p", "hw:cpu_policy=dedicated", "--host-text", "core:4", "--config", str(path), "--json")
    assert taken(json.loads(pinfold(*argv).out)["candidates"][0]["fit"]) == "2-3"


def test_doctor_says_that_libvirt_is_away(pinfold: Pinfold) -> None:
    answer = pinfold("doctor", "--json")
    assert answer.status == 1
    checks = {check["what"]: check for check in json.loads(answer.out)["checks"]}
    assert checks["libvirt and pools"]["health"] == "bad"


def test_doctor_looks_at_a_host_whose_pcpus_nova_switches_off(pinfold: Pinfold, tmp_path: Path) -> None:
    path = tmp_path / "nova.conf"
    path.write_text("[compute]\ncpu_shared_set = 0\n[libvirt]\ncpu_power_management = true\n")
    answer = pinfold("doctor", "--json", "--config", str(path))
    assert answer.status == 1
    checks = {check["check"]: check for check in json.loads(answer.out)["checks"]}
    assert checks["configuration"]["health"] == "bad"
    assert checks["configuration"]["words"].startswith("no guest is placed by these files: [libvirt] cpu_power_management")


def test_clouds_prints_an_entry_for_an_address_and_an_account(pinfold: Pinfold, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    answer = pinfold("config", "clouds", "--url", "https://api.example:8774/", "--username", "eve", "--password-file", str(password))
    entry = yaml.safe_load(answer.out)["clouds"]["pinfold"]
    assert entry["auth"] | {"endpoint": ""} == {"endpoint": "", "username": "eve", "password": "correct horse"}
    assert entry["compute_endpoint_override"] == "https://api.example:8774/compute/v2.1"


@pytest.mark.parametrize(
    ("lines", "auth"),
    [
        pytest.param("", {"auth_type": "admin_token", "auth": {"endpoint": "http://there:8778", "token": "admin"}}, id="none"),
        pytest.param("auth_type = http_basic\nusername = p\npassword = s3cret", {"auth_type": "http_basic"}, id="http_basic"),
        pytest.param("auth_type = token\ntoken = s3cret", {"auth_type": "admin_token"}, id="token"),
        pytest.param("auth_type = password\nauth_url = http://keystone\npassword = s3cret", {"auth_type": "password"}, id="keystone"),
    ],
)
def test_clouds_names_a_remote_placement_and_none_of_its_secrets(
    pinfold: Pinfold, tmp_path: Path, lines: str, auth: dict[str, object]
) -> None:
    config = tmp_path / "pinfold.conf"
    config.write_text(f"[pinfold_placement]\nendpoint_override = http://there:8778\n{lines}\n")
    answer = pinfold("config", "clouds", "--url", "http://here:8774", "--no-auth", "--config", str(config))
    assert "s3cret" not in answer.out
    clouds = yaml.safe_load(answer.out)["clouds"]
    assert clouds["pinfold"]["auth"]["endpoint"] == clouds["pinfold"]["placement_endpoint_override"] == "http://there:8778"
    assert clouds["pinfold"]["compute_endpoint_override"] == "http://here:8774/compute/v2.1"
    assert clouds["pinfold-placement"]["placement_endpoint_override"] == "http://there:8778"
    assert clouds["pinfold-placement"] | auth == clouds["pinfold-placement"]


def test_clouds_refuses_an_empty_password_and_a_host_where_no_service_was_started(pinfold: Pinfold, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    answer = pinfold("config", "clouds", "--url", "https://api.example:8774", "--password-file", str(tmp_path / "password"))
    assert answer.status == 2 and answer.err.endswith("password: the password is empty\n")
    config = tmp_path / "pinfold.conf"
    config.write_text(f"[pinfold]\nstate_dir = {tmp_path}/none\n")
    answer = pinfold("config", "clouds", "--config", str(config))
    assert (answer.status, answer.out) == (2, "")
    assert (
        answer.err == f"pinfold: there is no {tmp_path}/none/clouds.yaml, so no `pinfold up` ran here; name the API's address with --url\n"
    )


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("account", "bob", "--role", "king"), "--role 'king' is not allowed; admin or reader is"),
        (("account", "bob", "--role", "member"), "--role 'member' is not allowed; admin or reader is"),
        (("clouds", "--url", "nonsense"), "--url 'nonsense' is not allowed; an address such as http://127.0.0.1:8774 is"),
    ],
)
def test_a_wrong_word_is_refused_before_a_password_is_asked_for(pinfold: Pinfold, argv: tuple[str, ...], sentence: str) -> None:
    answer = pinfold("config", *argv)
    assert (answer.status, answer.out, answer.err) == (2, "", f"pinfold: {sentence}\n")
