"""The real `openstack` client, with osc-placement, as an operator types it. A first server on real guests is in `tests/real/fleet`."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from msgspec.structs import replace
from tests.build.hosts import report
from tests.real.clients.conftest import Rig
from tests.real.patience import until
from tests.stories.test_key_pairs import FINGERPRINT, KEY

from pinfold.agent.wire import PROTOCOL
from pinfold.store.records import PROTOCOL_FACT

GONE = "00000000-0000-4000-8000-000000000000"
"""The id of no server."""


def test_flavors(rig: Rig) -> None:
    *_, listed, shown = rig.succeed(
        "flavor create --id 7 --vcpus 2 --ram 64 --disk 0 --property hw:cpu_policy=dedicated --description quiet f.one",
        "flavor set f.one --property hw:cpu_thread_policy=isolate --description quieter",
        "flavor unset f.one --property hw:cpu_thread_policy",
        "flavor list --all --long -f json",
        "flavor show f.one -f json",
    )
    assert "f.one" in {row["Name"] for row in listed}
    assert (shown["id"], shown["properties"], shown["description"]) == ("7", {"hw:cpu_policy": "dedicated"}, "quieter")
    (code, _, err), *_ = rig.commands(
        "flavor set f.one --property hw:emulator_thread_policy=share", "flavor create --vcpus 2 --ram 64 f.one", "flavor delete f.one"
    )
    assert code != 0 and "hw:emulator_threads_policy" in err
    (code, _, err), *_ = rig.commands("flavor show f.one")
    assert code != 0 and "f.one" in err


def test_servers(rig: Rig) -> None:
    rig.succeed("flavor create --vcpus 1 --ram 64 --disk 0 --property hw:cpu_policy=dedicated f.servers")
    create = "server create --flavor f.servers --image probe --no-network"
    rig.succeed(
        f"{create} --wait --property a=b --description d --tag t s1",
        f"{create} --wait --min 2 --max 2 s2",
        f"{create} --wait --host c1 --use-config-drive s3",
        f"{create} --hypervisor-hostname c1 --wait s4",
        f"{create} --availability-zone nova:c1 --wait s5",
    )
    names = {"s1", "s2-1", "s2-2", "s3", "s4", "s5"}
    plain, long, filtered, expression, none, shown = rig.succeed(
        "server list -f json",
        "server list --long --all-projects -f json",
        "server list --name s2 --status ACTIVE --host c1 --flavor f.servers --image probe -f json",
        "server list --name ^s[12](-.)?$ -f json",
        "server list --status ERROR -f json",
        "server show s1 -f json",
    )
    assert {row["Name"] for row in plain} == names
    assert {row["Host"] for row in long} == {"c1"}
    assert {row["Name"] for row in filtered} == {"s2-1", "s2-2"}
    assert {row["Name"] for row in expression} == {"s1", "s2-1", "s2-2"}
    assert none == []
    assert (shown["properties"], shown["description"], shown["OS-EXT-SRV-ATTR:host"]) == ({"a": "b"}, "d", "c1")
    drive, groups = rig.succeed("server show s3 -c config_drive -f json", "security group list -f json")
    assert (drive["config_drive"], groups) == ("True", [])
    *_, beside, shown = rig.succeed(
        f"{create} --wait --hint same_host={shown['id']} s6",
        "server set --name s9 --description e --property c=d s1",
        "server unset --property a s9",
        "server show s6 -f json",
        "server show s9 -f json",
    )
    assert (beside["status"], beside["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "c1")
    assert (shown["name"], shown["properties"], shown["description"]) == ("s9", {"c": "d"}, "e")
    gone, elsewhere = rig.commands(f"{create} --hint same_host={GONE} s7", f"{create} --hint different_host={shown['id']} s8")
    assert gone[0] == 1 and f"same_host: Instance {GONE} could not be found" in gone[2]
    assert elsewhere[0] == 1 and "The scheduler hint different_host is not supported; use same_host" in elsewhere[2]
    rig.succeed(f"server delete --wait {' '.join(sorted({*names, 's6', 's9'} - {'s1'}))}", "flavor delete f.servers")


def test_pauses_locks_and_resets(rig: Rig) -> None:
    rig.succeed("flavor create --vcpus 1 --ram 64 --disk 0 f.life", "server create --flavor f.life --image probe --no-network --wait life")
    state = ("status", "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state")

    def shown(line: str) -> tuple[str, ...]:
        """What the server shows once a command is done."""
        rig.succeed(line)
        return until(lambda: _settled(rig, state), line)

    assert shown("server pause life") == ("PAUSED", "paused", "None", "3")
    assert shown("server unpause life") == ("ACTIVE", "active", "None", "1")
    assert shown("server suspend life") == ("SUSPENDED", "suspended", "None", "4")
    (code, _, err), *_ = rig.commands("server start life")
    assert code == 1 and "while it is in vm_state suspended" in err
    assert shown("server resume life") == ("ACTIVE", "active", "None", "1")
    assert shown("server set --state error --auto-approve life") == ("ERROR", "error", "None", "1")
    assert shown("server set --state active --auto-approve life") == ("ACTIVE", "active", "None", "1")
    _, locked, filtered, _, unlocked = rig.succeed(
        "server lock --reason maintenance life",
        "server show life -f json",
        "server list --locked -f json",
        "server unlock life",
        "server show life -f json",
    )
    assert (locked["locked"], locked["locked_reason"]) == (True, "maintenance")
    assert [row["Name"] for row in filtered] == ["life"]
    assert (unlocked["locked"], unlocked["locked_reason"]) == (False, None)
    rig.succeed("server delete --force --wait life", "flavor delete f.life")


def _settled(rig: Rig, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """These fields of the server `life`, None while something is under way."""
    (server,) = rig.fleet.ask("GET", "/servers/detail?name=life").json()["servers"]
    if server["OS-EXT-STS:task_state"] is not None:
        return None
    (told,) = rig.succeed("server show life -f json")
    return tuple(str(told[key]) for key in keys)


def test_tags_events_and_usage(rig: Rig) -> None:
    rig.succeed(
        "flavor create --vcpus 1 --ram 64 --disk 0 f.event", "server create --flavor f.event --image probe --no-network --wait event"
    )
    *_, tagged, events = rig.succeed(
        "server set --tag blue --tag red event",
        "server unset --tag red event",
        "server list --tags blue -f json",
        "server event list event -f json",
    )
    assert [row["Name"] for row in tagged] == ["event"]
    assert [row["Action"] for row in events] == ["create"]
    shown, used, named = rig.succeed(
        f"server event show event {events[0]['Request ID']} -f json", "usage list -f json", "usage show --project pinfold -f json"
    )
    assert (shown["action"], [one["result"] for one in shown["events"]]) == ("create", ["Success"])
    assert [row["Project"] for row in used] == ["pinfold"] == [named["Project"]]
    assert "event" in {one["name"] for one in named["Servers"]}
    rig.succeed("server delete --wait event", "flavor delete f.event")


def test_the_project_of_all_accounts_is_found_by_its_name(rig: Rig) -> None:
    listed, shown, _, quota, _, servers = rig.succeed(
        "project list -f json",
        "project show pinfold -f json",
        "quota set --instances 5 pinfold",
        "quota show --compute pinfold -f json",
        "quota delete --compute pinfold",
        "server list --project pinfold -f json",
    )
    assert [(row["ID"], row["Name"]) for row in listed] == [("pinfold", "pinfold")]
    assert (shown["name"], shown["enabled"], servers) == ("pinfold", True, [])
    assert {row["Resource"]: row["Limit"] for row in quota}["instances"] == 5
    (code, _, err), *_ = rig.commands("quota set --instances 5 red")
    assert (code, "No Project found for red" in err) == (1, True)


def test_an_account_is_found_by_its_name(rig: Rig) -> None:
    users, servers, pairs = rig.succeed("user list -f json", "server list --user alice -f json", "keypair list --user alice -f json")
    assert "alice" in {user["Name"] for user in users}
    assert (servers, pairs) == ([], [])
    ((code, _, err),) = rig.commands("role list")
    assert (code, "this is no Keystone" in err) == (1, True)


def test_a_refusal_reaches_the_user_with_its_reasons(rig: Rig) -> None:
    rig.succeed("flavor create --vcpus 9 --ram 64 --disk 0 --property hw:cpu_policy=dedicated f.wide")
    (code, _, err), (_, shown, _) = rig.commands(
        "server create --flavor f.wide --image probe --no-network --wait refused", "server show refused -f json"
    )
    assert code != 0, err
    assert "c1: no host cell, even empty, takes guest cell 0; cell 0 has 6 dedicated pCPUs, 9 needed" in shown["fault"]["message"]
    rig.succeed("server delete --wait refused", "flavor delete f.wide")
    (code, _, err), *_ = rig.commands("server create --flavor none --image probe --no-network x")
    assert code != 0 and "none" in err


def test_hosts_services_aggregates_and_zones(rig: Rig) -> None:
    *_, hypervisor, disabled = rig.succeed(
        "hypervisor list --long -f json",
        "compute service set --disable --disable-reason kernel c1 nova-compute",
        "hypervisor show c1 -f json",
        "compute service list --long -f json",
    )
    assert (hypervisor["hypervisor_hostname"], hypervisor["status"]) == ("c1", "disabled")
    assert (disabled[0]["Status"], disabled[0]["Disabled Reason"]) == ("disabled", "kernel")
    *_, aggregate, zones, _, _, aggregates = rig.succeed(
        "compute service set --enable c1 nova-compute",
        "aggregate create --zone az1 --property pinned=true agg",
        "aggregate add host agg c1",
        "aggregate set --property tier=gold agg",
        "aggregate show agg -f json",
        "availability zone list --compute --long -f json",
        "aggregate remove host agg c1",
        "aggregate delete agg",
        "aggregate list -f json",
    )
    assert (aggregate["hosts"], aggregate["availability_zone"]) == (["c1"], "az1")
    assert aggregate["properties"] == {"pinned": "true", "tier": "gold"}
    assert [zone["Zone Name"] for zone in zones] == ["az1"]
    assert aggregates == []
    hosts, migrations = rig.succeed("host list -f json", "server migration list -f json")
    assert ([(row["Host Name"], row["Zone"]) for row in hosts if row["Service"] == "compute"], migrations) == ([("c1", "nova")], [])


_REFUSED = {
    "server migrate s": "delete the server, and create it with `--host`",
    "server migrate --live-migration s": "delete the server, and create it with `--host`",
    "server shelve s": "pinfold shelves no servers",
    "server rescue s": "pinfold has no rescue mode",
    "server evacuate s": "its disk is on its host",
    "server resize --flavor f.part s": "create it with the other flavor",
    "server image create s": "pinfold makes no images from servers",
    "server backup create s": "pinfold makes no images from servers",
    "server dump create s": "virsh inject-nmi",
    "server restore s": "pinfold has no soft delete",
    "server set --password p s": "pinfold changes nothing inside a running guest",
    "console url show s": "--serial",
    "server volume list s": "pinfold has no volumes",
    "server group list": "pinfold has no server groups",
    "server group create g": "pinfold has no server groups",
    "aggregate cache image a probe": "no image can be cached before",
    "compute agent list": "Nova has removed this API",
}
"""Commands, and a part of the sentence that each prints."""
_ELSEWHERE = ("limits show --absolute", "quota show", "usage show", "image set --property a=b probe")
"""Commands that end in the client, or at an API that is not Compute's."""


def test_what_is_no_part_of_pinfold_is_refused_in_a_sentence_and_never_ends_in_a_traceback(rig: Rig) -> None:
    rig.succeed(
        "flavor create --vcpus 1 --ram 64 --disk 0 f.part",
        "server create --flavor f.part --image probe --no-network --wait s",
        "aggregate create a",
    )
    rig.heard.calls.clear()
    for (line, sentence), (code, out, err) in zip(_REFUSED.items(), rig.commands(*_REFUSED), strict=True):
        assert (code, "Traceback" in err) == (1, False), f"{line}: {out} {err}"
        assert sentence in err, f"{line}: {err}"
    assert {status for _, _, status in rig.heard.calls if status >= 400} <= {400, 404, 410, 501}
    for line, (code, out, err) in zip(_ELSEWHERE, rig.commands(*_ELSEWHERE), strict=True):
        assert (code, "Traceback" in err) == (1, False), f"{line}: {out} {err}"
    rig.succeed("server delete --wait s", "flavor delete f.part", "aggregate delete a")


def test_key_pairs(rig: Rig, tmp_path: Path) -> None:
    public, private = tmp_path / "key.pub", tmp_path / "made"
    public.write_text(f"{KEY}\n", encoding="ascii")
    imported, made, listed, shown, _, _, left = rig.succeed(
        f"keypair create --public-key {public} mine -f json",
        f"keypair create --private-key {private} made -f json",
        "keypair list -f json",
        "keypair show mine -f json",
        "keypair delete mine",
        "keypair delete made",
        "keypair list -f json",
    )
    assert (imported["name"], imported["fingerprint"]) == ("mine", FINGERPRINT)
    assert "PRIVATE KEY" in private.read_text(encoding="ascii")
    assert [(row["Name"], row["Type"]) for row in listed] == [("made", "ssh"), ("mine", "ssh")]
    assert (shown["fingerprint"], made["name"], left) == (FINGERPRINT, "made", [])


def test_images(rig: Rig) -> None:
    listed, shown = rig.succeed("image list -f json", "image show probe -f json")
    assert [(row["Name"], row["Status"]) for row in listed] == [("probe", "active")]
    assert shown["size"] == 64
    ((code, _, err),) = rig.commands("image delete probe")
    assert code != 0 and "Image probe is the operator's" in err


def test_variants_of_images(rig: Rig, tmp_path: Path) -> None:
    """Large enough to be sent in many pieces."""
    large, saved, wrong = rig.fleet.images / "large.raw", tmp_path / "saved", tmp_path / "wrong"
    large.write_bytes(bytes(range(256)) * 20_000)
    wrong.write_bytes(large.read_bytes()[:-1] + b"x")
    rig.succeed("image save --file " + str(saved) + " large")
    made, *_, shown = rig.succeed(
        f"image create --disk-format raw --file {saved} --property hw_cpu_policy=shared --property note=a tuned -f json",
        "image set --property hw_cpu_policy=dedicated --min-ram 64 --protected --public tuned",
        "image unset --property note tuned",
        "image set --name renamed --private tuned",
        "image show renamed -f json",
    )
    assert (made["status"], made["size"], made["visibility"]) == ("active", large.stat().st_size, "private")
    assert (shown["id"], shown["min_ram"], shown["protected"], shown["owner"]) == (made["id"], 64, True, "pinfold")
    assert shown["properties"]["hw_cpu_policy"] == "dedicated" and "note" not in shown["properties"]
    listed, *_, server = rig.succeed(
        "image list --private -f json",
        "flavor create --vcpus 1 --ram 64 --disk 0 f.variant",
        "server create --flavor f.variant --image renamed --no-network --wait v",
        "server show v -f json",
    )
    assert ([row["Name"] for row in listed], server["status"]) == (["renamed"], "ACTIVE")
    ((code, _, err),) = rig.commands("image delete renamed")
    assert code != 0 and "is protected and cannot be deleted" in err
    *_, left, server = rig.succeed(
        "image set --unprotected renamed", "image delete renamed", "image list --private -f json", "server show v -f json"
    )
    assert (left, server["status"]) == ([], "ACTIVE") and made["id"] in server["image"]
    ((code, _, err),) = rig.commands(f"image create --file {wrong} wrong")
    assert (code, "Traceback" in err) == (1, False) and "only the bytes of such an image are accepted" in err
    ((code, _, err),) = rig.commands("image create --public --file " + str(saved) + " --tag a tagged")
    assert (code, "Traceback" in err) == (1, False) and "tags" in err
    rig.succeed("server delete --wait v", "flavor delete f.variant")
    large.unlink()


def test_an_image_is_shown_with_every_property_of_its_file(rig: Rig) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/describe-an-image.md").read_text(encoding="utf-8")
    (properties,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = rig.fleet.images / "debian.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "2G"], check=True)
    file.with_suffix(".toml").write_text(properties)
    shown, found, none = rig.succeed(
        "image show debian -f json", "image list --property os_distro=debian -f json", "image list --property os_distro=fedora -f json"
    )
    assert (shown["min_disk"], shown["min_ram"], shown["disk_format"], shown["virtual_size"]) == (2, 256, "qcow2", 2 << 30)
    declared = {key: str(value) for key, value in tomllib.loads(properties).items() if key not in ("min_disk", "min_ram")}
    assert declared.items() <= shown["properties"].items(), shown
    assert ([row["Name"] for row in found], none) == (["debian"], [])
    file.unlink()
    file.with_suffix(".toml").unlink()


def test_placement(rig: Rig) -> None:
    uuid = rig.fleet.agents["c1"].id
    *_, traits, candidates, empty = rig.succeed(
        "trait create CUSTOM_QUIET",
        f"resource provider trait set --trait CUSTOM_QUIET --trait CUSTOM_OVERHEAD_POOL {uuid}",
        f"resource provider trait list {uuid} -f json",
        "allocation candidate list --resource PCPU=2 -f json",
        f"resource provider allocation show {GONE} -f json",
    )
    assert {row["name"] for row in traits} == {"CUSTOM_QUIET", "CUSTOM_OVERHEAD_POOL"}
    assert {row["resource provider"] for row in candidates} == {uuid}
    assert empty == []


def test_a_flavor_that_needs_what_no_processor_has_is_refused_with_its_trait(rig: Rig) -> None:
    agent = rig.fleet.agents["c1"]
    facts = ((PROTOCOL_FACT, str(PROTOCOL)),)
    told = replace(report(cells=2, cores=4), facts=facts, processor_traits=("HW_CPU_X86_AVX2", "HW_CPU_X86_SSE2"))
    assert agent.hello(told).status_code == 200
    create = "server create --image probe --no-network"
    *_, traits, having = rig.succeed(
        "flavor create --vcpus 1 --ram 64 --disk 0 --property trait:HW_CPU_X86_AVX2=required f.avx2",
        "flavor create --vcpus 1 --ram 64 --disk 0 --property trait:HW_CPU_X86_AVX512F=required f.avx512",
        f"{create} --flavor f.avx2 --wait fast",
        f"resource provider trait list {agent.id} -f json",
        "resource provider list --required HW_CPU_X86_AVX2 -f json",
    )
    assert {"HW_CPU_X86_AVX2", "HW_CPU_X86_SSE2"} <= {row["name"] for row in traits}
    assert [row["name"] for row in having] == ["c1"]
    (code, _, _), (_, shown, _), *_ = rig.commands(
        f"{create} --flavor f.avx512 --wait faster", "server show faster -f json", "server delete fast faster"
    )
    assert code != 0
    assert shown["fault"]["message"] == "No host takes the guest: c1: the host lacks the trait HW_CPU_X86_AVX512F"


def test_a_wrong_password_is_told_as_such(rig: Rig) -> None:
    right = rig.clouds.read_text()
    try:
        rig.clouds.write_text(right.replace("correct horse", "wrong"))
        for line in ("server list", "resource provider list", "image list"):
            ((code, _, err),) = rig.commands(line)
            assert code != 0 and "401" in err, f"{line}: {err}"
    finally:
        rig.clouds.write_text(right)
