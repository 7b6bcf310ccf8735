"""Servers that get a new disk: what is shown, ordered and kept at each moment, what is refused and why."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.in_process import NEWEST, Agent, Fleet
from tests.stories.test_key_pairs import KEY
from tests.stories.test_pauses_and_locks import KNOWS_PAUSES, says
from tests.stories.test_stops_and_reboots import HARD, SOFT, START, STOP, act, words

from pinfold.api.image.catalog import image_id
from pinfold.core.host_features import HARDWARE, machine, tpm
from pinfold.store.records import PROTOCOL_FACT, Observed

ACTIVE = ("ACTIVE", "active", None, 1)
USER_DATA = base64.b64encode(b"#cloud-config\n").decode()


@pytest.fixture
def server(fleet: Fleet) -> str:
    """A server that runs on `c1`; there is another image, `other`."""
    fleet.host("c1", replace(KNOWS_PAUSES, features=(HARDWARE, machine("q35"), tpm("2.0", "tpm-tis"))))
    picture(fleet, "other")
    made = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    fleet.obey()
    return made


def picture(fleet: Fleet, name: str, text: str = "") -> str:
    """An image of that name with these properties in TOML; its id."""
    (fleet.images / f"{name}.rom").write_bytes(b"\x00" * 64)
    (fleet.images / f"{name}.toml").write_text(text)
    return image_id(name)


def rebuild(fleet: Fleet, server: str, image: str = "other", status: int = 202, version: str = NEWEST, **more: Any) -> Any:
    body = {"rebuild": {"imageRef": image_id(image)} | more}
    return fleet.ask("POST", f"/servers/{server}/action", body, version=version, status=status).json()


def refused(fleet: Fleet, server: str, status: int = 400, **more: Any) -> str:
    (fault,) = rebuild(fleet, server, status=status, **more).values()
    return str(fault["message"])


def config(agent: Agent, server: str) -> Any:
    answer = agent.ask("GET", f"/guests/{server}/config")
    return answer.json() if answer.status_code == 200 else answer.status_code


def test_a_running_server_gets_a_new_disk_and_keeps_its_place(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    before = c1.order(server)
    shown = rebuild(fleet, server, name="vm2", metadata={"role": "db"}, description="anew", accessIPv4="192.0.2.7")["server"]
    assert (shown["id"], shown["status"], shown["name"], shown["image"]["id"]) == (server, "REBUILD", "vm2", image_id("other"))
    assert (shown["metadata"], shown["description"], shown["accessIPv4"]) == ({"role": "db"}, "anew", "192.0.2.7")
    assert words(fleet, server) == ("REBUILD", "active", "rebuilding", 1)
    order = c1.order(server)
    assert (order["rebuild"], order["boot"], order["image"], order["desired"]) == (2, 2, "other", "running")
    assert order["claim"] == before["claim"]
    for action in (START, STOP, SOFT, {"pause": None}, {"rebuild": {"imageRef": image_id("other")}}):
        assert "while it is in task_state rebuilding" in act(fleet, server, action, 409)
    c1.says(server, Observed.RUNNING, boot=1, revision=order["claim"]["revision"], claim=order["claim"]["id"])
    assert fleet.status(server) == "REBUILD"
    c1.obey()
    assert (words(fleet, server), c1.order(server)["rebuild"]) == (ACTIVE, 0)
    events = fleet.ask("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
    assert [event["action"] for event in events] == ["rebuild", "create"]


def test_a_stopped_server_stays_stopped(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, STOP)
    c1.obey()
    rebuild(fleet, server)
    assert words(fleet, server) == ("REBUILD", "stopped", "rebuilding", 4)
    assert (c1.order(server)["desired"], c1.order(server)["rebuild"]) == ("stopped", 2)
    claim = c1.order(server)["claim"]
    c1.says(server, Observed.STOPPED, boot=1, revision=claim["revision"], claim=claim["id"])
    assert fleet.status(server) == "REBUILD"
    c1.obey()
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)
    act(fleet, server, START)
    assert (c1.order(server)["boot"], c1.order(server)["rebuild"]) == (3, 0)


def test_a_server_whose_guest_ended_by_itself_stays_stopped_too(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    claim = c1.order(server)["claim"]
    c1.says(server, Observed.STOPPED, boot=1, revision=claim["revision"], claim=claim["id"])
    assert fleet.status(server) == "SHUTOFF"
    rebuild(fleet, server)
    assert c1.order(server)["desired"] == "stopped"
    c1.obey()
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)


@pytest.mark.parametrize("observed", [Observed.RUNNING, Observed.STOPPED])
def test_a_rebuild_that_fails_puts_the_server_in_error_until_a_later_boot_brings_the_disk(
    fleet: Fleet, server: str, observed: Observed
) -> None:
    c1 = fleet.agents["c1"]
    rebuild(fleet, server)
    says(c1, server, observed, failure="image other is no disk")
    shown = fleet.show(server)
    assert (shown["status"], shown["fault"]["message"]) == ("ERROR", "The rebuild failed on c1: image other is no disk")
    assert "while it is in vm_state error" in act(fleet, server, SOFT, 409)
    says(c1, server, observed, boot=None)  # by an agent that has forgotten
    assert (fleet.status(server), c1.order(server)["rebuild"]) == ("ERROR", 2) if observed is Observed.STOPPED else True
    act(fleet, server, HARD)
    assert (c1.order(server)["boot"], c1.order(server)["rebuild"]) == (3, 2)
    c1.obey()
    assert (words(fleet, server), c1.order(server)["rebuild"]) == (ACTIVE, 0)


def test_an_administrator_may_clear_the_error_of_a_rebuild_that_failed(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    rebuild(fleet, server)
    says(c1, server, Observed.RUNNING, failure="no such image")
    act(fleet, server, {"os-resetState": {"state": "active"}})
    says(c1, server, Observed.RUNNING, failure="no such image")
    assert (fleet.status(server), c1.order(server)["rebuild"]) == ("ACTIVE", 2)


@pytest.mark.parametrize("failure", ["", "image other is no disk"])
def test_a_rebuild_ends_as_its_agent_says_though_an_administrator_has_cleared_its_task(fleet: Fleet, failure: str) -> None:
    c1 = fleet.host("c1", KNOWS_PAUSES)
    picture(fleet, "other")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"), config_drive=True)
    fleet.obey()
    rebuild(fleet, server, user_data=USER_DATA, adminPass="a secret")
    act(fleet, server, {"os-resetState": {"state": "active"}})
    says(c1, server, Observed.RUNNING, boot=1)
    assert (fleet.status(server), c1.order(server)["rebuild"], config(c1, server) != 404) == ("ACTIVE", 2, True)
    for _ in ("told", "told again"):
        says(c1, server, Observed.RUNNING, failure=failure)
        if failure:
            assert (fleet.show(server)["fault"]["message"], c1.order(server)["rebuild"]) == (f"The rebuild failed on c1: {failure}", 2)
        else:
            assert (words(fleet, server), c1.order(server)["rebuild"], config(c1, server)) == (ACTIVE, 0, 404)


def test_a_server_in_error_is_rebuilt(fleet: Fleet, server: str) -> None:
    act(fleet, server, {"os-resetState": {"state": "error"}})
    assert rebuild(fleet, server)["server"]["status"] == "REBUILD"
    fleet.obey()
    assert words(fleet, server) == ACTIVE


def test_what_the_new_drive_holds_is_asked_for_once_and_what_is_not_given_is_kept(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    fleet.ask("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": KEY, "type": "ssh"}}, status=201)
    assert (rebuild(fleet, server)["server"]["key_name"], config(c1, server)) == (None, 404)
    c1.obey()
    answered = rebuild(fleet, server, key_name="mine", user_data=USER_DATA, adminPass="Secret-1", hostname="db1")["server"]
    assert (answered["key_name"], answered["user_data"], answered["adminPass"]) == ("mine", None, "Secret-1")
    given = config(c1, server)
    assert (given["user_data"], given["public_key"], given["admin_pass"], given["hostname"]) == (USER_DATA, KEY, "Secret-1", "db1")
    assert (given["kept"], c1.order(server)["config_drive"]) == ([], True)
    c1.obey()
    assert config(c1, server) == 404
    assert rebuild(fleet, server, name="vm3")["server"]["key_name"] == "mine"
    given = config(c1, server)
    assert (given["kept"], given["name"], given["hostname"], given["admin_pass"]) == (["user_data", "key"], "vm3", "db1", "")
    c1.obey()
    assert rebuild(fleet, server, key_name=None, user_data=None)["server"]["key_name"] is None
    given = config(c1, server)
    assert (given["kept"], given["user_data"], given["public_key"]) == ([], "", "")


REFUSED_IMAGES = {
    'hw_cpu_thread_policy = "isolate"': "hw_cpu_thread_policy asks for another place than the server has: isolate instead of prefer",
    "hw_numa_nodes = 2": "hw_numa_nodes asks for another place than the server has: cell 0 with vCPUs 0 (pinned 0)",
    "hw_locked_memory = true": "hw_locked_memory asks for another place than the server has: true instead of false",
    '"trait:CUSTOM_X" = "required"': "trait:NAME=required asks for another place than the server has: CUSTOM_X instead of no trait",
    'hw_machine_type = "pc-i440fx-9.2"': "the server's host lacks the machine pc-i440fx-9.2, which the image asks for",
    'hw_firmware_type = "uefi"': "is a ROM, which takes the place of the firmware",
    '"pinfold:template" = "own"': "a template brings what a server boots",
    "min_ram = 4096": "Flavor's memory is too small for the image",
    'hw_disk_bus = "ide"': "hw_disk_bus is 'ide'",
}


@pytest.mark.parametrize("text", REFUSED_IMAGES)
def test_an_image_that_asks_for_another_place_is_refused_and_nothing_changes(fleet: Fleet, server: str, text: str) -> None:
    picture(fleet, "other", text)
    assert REFUSED_IMAGES[text] in refused(fleet, server)
    shown = fleet.show(server)
    assert (shown["status"], shown["image"]["id"]) == ("ACTIVE", image_id("probe"))
    events = fleet.ask("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
    assert [event["action"] for event in events] == ["create"]


def test_hardware_that_does_not_touch_the_place_is_the_new_images(fleet: Fleet, server: str) -> None:
    picture(fleet, "other", 'hw_machine_type = "q35"\nhw_rng_model = "virtio"\nhw_watchdog_action = "reset"')
    rebuild(fleet, server)
    hardware = fleet.agents["c1"].order(server)["request"]["hardware"]
    assert (hardware["machine"], hardware["random"], hardware["watchdog"]) == ("q35", True, "reset")


def test_a_server_with_a_tpm_is_refused_as_nova_refuses_it(fleet: Fleet, server: str) -> None:
    picture(fleet, "other", 'hw_tpm_version = "2.0"\nhw_tpm_model = "tpm-tis"')
    rebuild(fleet, server)  # it gets one
    fleet.obey()
    assert "has an emulated TPM" in refused(fleet, server, 409)


@pytest.mark.parametrize(
    ("version", "given", "sentence"),
    [
        ("2.18", {"description": "x"}, "description is accepted from microversion 2.19 on"),
        ("2.53", {"key_name": "mine"}, "key_name is accepted from microversion 2.54 on"),
        ("2.56", {"user_data": USER_DATA}, "user_data is accepted from microversion 2.57 on"),
        ("2.62", {"trusted_image_certificates": None}, "trusted_image_certificates is accepted from microversion 2.63 on"),
        ("2.89", {"hostname": "x"}, "hostname is accepted from microversion 2.90 on"),
        ("2.57", {"personality": []}, "personality is accepted up to microversion 2.56"),
        (NEWEST, {"imageRef": ""}, "Invalid input for rebuild.imageRef"),
        (NEWEST, {"imageRef": "no-such"}, "Image no-such could not be found."),
        (NEWEST, {"colour": "red"}, "Invalid input for rebuild.colour"),
        (NEWEST, {"user_data": "%%"}, "user_data is not base64"),
        (NEWEST, {"adminPass": 7}, "Value: '***'"),
        (NEWEST, {"accessIPv4": "x"}, "accessIPv4 'x' is no IPv4 address"),
        (NEWEST, {"key_name": "none"}, "has no key pair 'none'"),
        (NEWEST, {"preserve_ephemeral": True}, "no ephemeral disk that could be kept"),
    ],
)
def test_what_cannot_be_asked_is_told(fleet: Fleet, server: str, version: str, given: Any, sentence: str) -> None:
    assert sentence in refused(fleet, server, version=version, **given)
    assert fleet.status(server) == "ACTIVE"


def test_states_in_which_a_server_is_not_rebuilt(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    for action, resting, state in (({"pause": None}, Observed.PAUSED, "paused"), ({"suspend": None}, Observed.STOPPED, "suspended")):
        act(fleet, server, action)
        says(c1, server, resting)
        assert f"while it is in vm_state {state}" in refused(fleet, server, 409)
        act(fleet, server, HARD)
        c1.obey()
    c1.hello(replace(KNOWS_PAUSES, facts=((PROTOCOL_FACT, "3"),)))
    assert "the agent of host c1 is of an earlier pinfold; upgrade it" in refused(fleet, server, 409)
    c1.hello(report())
    assert "upgrade it" in refused(fleet, server, 409)
    new = fleet.create("new", "pin")
    assert "while it is in task_state spawning" in refused(fleet, new, 409)
    rebuild(fleet, "0" * 8 + server[8:], status=404)
