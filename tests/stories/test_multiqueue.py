"""Interfaces with a queue for each vCPU: where such servers go, what they book, and what is refused."""

from __future__ import annotations

from msgspec.structs import replace
from tests.rig.client import SHARE, server_body
from tests.rig.in_process import Agent, Fleet
from tests.stories.test_interfaces import NIC_MILLICPU, WAN, attach, host
from tests.stories.test_networks import LAN, OUT, on
from tests.stories.test_pauses_and_locks import KNOWS_PAUSES

from pinfold.api.image.catalog import image_id
from pinfold.core.host_features import HARDWARE, INTERFACES, MULTIQUEUE
from pinfold.core.networks import HostNetwork, NetworkKind

NEW = (HARDWARE, INTERFACES, MULTIQUEUE)


def _able(fleet: Fleet, name: str, *networks: HostNetwork, features: tuple[str, ...] = NEW) -> Agent:
    return fleet.host(name, replace(KNOWS_PAUSES, networks=networks, features=features))


def _flavors(fleet: Fleet) -> None:
    """Two flavors of three vCPUs that book overhead; the interfaces of `wide` have several queues."""
    for name in ("narrow", "wide"):
        fleet.flavor(name, vcpus=3, **SHARE)
    fleet.ask("POST", "/flavors/wide/os-extra_specs", {"extra_specs": {"hw:vif_multiqueue_enabled": "true"}}, status=200)


def test_a_server_with_several_queues_goes_to_a_host_that_has_them_and_books_each(fleet: Fleet) -> None:
    _flavors(fleet)
    _able(fleet, "c1", HostNetwork(name="wan", kind=NetworkKind.USER))
    host(fleet, "c2", WAN)
    c3 = _able(fleet, "c3", WAN)
    narrow = fleet.create("one", "narrow", networks=[on("wan")], host="c3")
    booked = c3.order(narrow)["claim"]["fit"]["overhead_millicpu"]
    server = fleet.create("vm", "wide", networks=[on("wan")])
    assert fleet.show(server)["OS-EXT-SRV-ATTR:host"] == "c3", fleet.show(server).get("fault")
    order = c3.order(server)
    assert order["request"]["hardware"]["multiqueue"] is True
    assert order["claim"]["fit"]["overhead_millicpu"] == booked + 2 * NIC_MILLICPU
    assert fleet.usage("c3")["CUSTOM_OVERHEAD_MILLICPU"] == 2 * booked + 2 * NIC_MILLICPU
    for name, said in (
        ("c1", "c1: the host lacks several queues on the network wan"),
        ("c2", "c2: the host lacks an agent that gives guests the hardware that they ask for; the host lacks an agent that gives"),
    ):
        assert said in fleet.show(fleet.create("no", "wide", networks=[on("wan")], host=name))["fault"]["message"]
    assert fleet.status(fleet.create("none", "wide", host="c1")) == "BUILD", "without an interface there is no queue to lack"


def test_an_interface_that_comes_later_has_as_many_queues_and_none_in_user_mode(fleet: Fleet) -> None:
    _flavors(fleet)
    c1 = _able(fleet, "c1", LAN, WAN, OUT)
    server = fleet.create("vm", "wide", networks=[on("lan")])
    c1.obey()
    before = fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"]
    assert "c1 offers the network out in user mode, with one queue" in attach(fleet, server, "out", status=409)["message"]
    attach(fleet, server, "wan")
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before + 3 * NIC_MILLICPU


def test_a_rebuild_does_not_change_how_many_queues_are_booked(fleet: Fleet) -> None:
    _flavors(fleet)
    c1 = _able(fleet, "c1", LAN)
    (fleet.images / "fast.rom").write_bytes(b"\0" * 64)
    (fleet.images / "fast.toml").write_text("hw_vif_multiqueue_enabled = true\n", encoding="ascii")
    servers = [fleet.create(f"vm{index}", "narrow", networks=networks) for index, networks in enumerate(([on("lan")], "none"))]
    c1.obey()
    answers = [
        fleet.ask("POST", f"/servers/{server}/action", {"rebuild": {"imageRef": image_id("fast")}}, status=status)
        for server, status in zip(servers, (400, 202), strict=True)
    ]
    said = "the image's hw_vif_multiqueue_enabled asks for another place than the server has: 3 queues instead of 1 queues"
    assert said in answers[0].json()["badRequest"]["message"]


def test_an_image_asks_for_queues_and_a_flavor_that_disagrees_is_refused(fleet: Fleet) -> None:
    _flavors(fleet)
    c1 = _able(fleet, "c1", LAN)
    for image, value in (("fast", "true"), ("slow", "false")):
        (fleet.images / f"{image}.rom").write_bytes(b"\0" * 64)
        (fleet.images / f"{image}.toml").write_text(f"hw_vif_multiqueue_enabled = {value}\n", encoding="ascii")
    made = fleet.create("vm", "narrow", imageRef=image_id("fast"), networks=[on("lan")])
    assert c1.order(made)["request"]["hardware"]["multiqueue"] is True
    answer = fleet.ask("POST", "/servers", {"server": server_body("no", "wide", imageRef=image_id("slow"))}, status=400)
    assert "hw:vif_multiqueue_enabled" in answer.json()["badRequest"]["message"]
