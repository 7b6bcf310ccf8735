"""A flavor or image that promises what the service does not keep is refused, in a sentence that names the key and the way out."""

from __future__ import annotations

import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet

_REFUSED = {
    "hw:viommu_model": ("virtio", "a server gets no IOMMU; remove the key, or use another flavor or image"),
    "hw:ephemeral_encryption": ("true", "a server gets no encrypted disks; remove the key, or set it to false or no"),
    "quota:disk_read_iops_sec": (
        "100",
        "a server gets no limits on memory, disk and network; remove the key, or use another flavor or image",
    ),
    "capabilities:cpu_info:arch": (
        "x86_64",
        "a server gets no host chosen by its capabilities; remove the key, or use trait:NAME or the metadata of an aggregate",
    ),
}


@pytest.mark.parametrize(("key", "value", "words"), [(key, *rest) for key, rest in _REFUSED.items()], ids=_REFUSED)
def test_a_promise_that_is_not_kept_is_refused_by_name(standing_fleet: Fleet, key: str, value: str, words: str) -> None:
    name = f"f-{key.replace(':', '-')}"
    standing_fleet.flavor(name, vcpus=1)
    answer = standing_fleet.ask("POST", f"/flavors/{name}/os-extra_specs", {"extra_specs": {key: value}}, status=400)
    assert answer.json()["badRequest"]["message"] == f"{key} is {value!r}, but {words}"
    asked = {"flavor": {"vcpus": 1, "ram": 64, "extra_specs": {key: value}}}
    assert standing_fleet.call("POST", "/v1/fits", asked, status=400).json()["error"]["message"] == f"{key} is {value!r}, but {words}"


def test_a_promise_of_an_image_is_refused_and_a_value_that_promises_nothing_is_not(standing_fleet: Fleet) -> None:
    standing_fleet.flavor("optional", vcpus=1)
    standing_fleet.ask("POST", "/flavors/optional/os-extra_specs", {"extra_specs": {"hw:ephemeral_encryption": "no"}}, status=200)
    standing_fleet.create("vm", "optional")
    (standing_fleet.images / "probe.toml").write_text('hw_viommu_model = "intel"\n', encoding="ascii")
    answer = standing_fleet.ask("POST", "/servers", {"server": server_body("vm", "optional")}, status=400)
    assert "the image's hw_viommu_model is 'intel', but a server gets no IOMMU" in answer.text
    (standing_fleet.images / "probe.toml").write_text('hw_disk_bus = "ide"\n', encoding="ascii")
    answer = standing_fleet.ask("POST", "/servers", {"server": server_body("vm", "optional")}, status=400)
    assert "the image's hw_disk_bus is 'ide', but a server gets no disk on another bus than virtio" in answer.text


@pytest.mark.parametrize(
    ("field", "words"),
    [("swap", "has 512 MiB of swap"), ("OS-FLV-EXT-DATA:ephemeral", "has 512 GiB of ephemeral space")],
    ids=["swap", "ephemeral space"],
)
def test_a_flavor_with_more_disks_than_a_server_gets_makes_no_server(standing_fleet: Fleet, field: str, words: str) -> None:
    name = f"more-{field[:4]}"
    body = {"flavor": {"name": name, "id": name, "vcpus": 1, "ram": 64, "disk": 1, field: 512}}
    assert standing_fleet.ask("POST", "/flavors", body, status=200).json()["flavor"][field] == 512
    before = standing_fleet.ask("GET", "/servers", status=200).json()
    refused = standing_fleet.ask("POST", "/servers", {"server": server_body("vm", name)}, status=400).json()["badRequest"]["message"]
    assert refused.startswith(f"the flavor {name} {words}, but a server gets no disk beside that of its image")
    assert standing_fleet.ask("GET", "/servers", status=200).json() == before


def test_a_key_without_effect_is_named_where_the_placement_is_shown(standing_fleet: Fleet) -> None:
    standing_fleet.flavor("loud", vcpus=1)
    standing_fleet.ask("POST", "/flavors/loud/os-extra_specs", {"extra_specs": {"hw:sound_model": "virtio"}}, status=200)
    assert standing_fleet.call("POST", "/v1/fits", {"flavor": "loud"}, status=200).json()["not_acted_upon"] == ["hw:sound_model"]
