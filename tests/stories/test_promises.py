"""A server whose flavor or image promises what the service does not keep is refused, in a sentence that names the key and the way out."""

from __future__ import annotations

import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet

_REFUSED = {
    "os:secure_boot": ("required", "a server gets no secure boot; remove the key, or set it to disabled or optional"),
    "hw:tpm_version": ("2.0", "a server gets no emulated TPM; remove the key, or use another flavor or image"),
    "hw:tpm_model": ("tpm-crb", "a server gets no emulated TPM; remove the key, or use another flavor or image"),
    "hw:ephemeral_encryption": ("true", "a server gets no encrypted disks; remove the key, or set it to false or no"),
    "quota:cpu_quota": ("10000", "a server gets no limits on CPU time, disk and network; remove the key, or use another flavor or image"),
    "aggregate_instance_extra_specs:ssd": (
        "true",
        "a server gets no host chosen by the metadata of its aggregates; remove the key, or use trait:NAME or an availability zone",
    ),
}


@pytest.mark.parametrize(("key", "value", "words"), [(key, *rest) for key, rest in _REFUSED.items()], ids=_REFUSED)
def test_a_promise_of_a_flavor_that_is_not_kept_is_refused_by_name(standing_fleet: Fleet, key: str, value: str, words: str) -> None:
    name = f"f-{key.replace(':', '-')}"
    standing_fleet.flavor(name, vcpus=1)
    standing_fleet.ask("POST", f"/flavors/{name}/os-extra_specs", {"extra_specs": {key: value}}, status=200)
    answer = standing_fleet.ask("POST", "/servers", {"server": server_body("vm", name)}, status=400)
    assert answer.json()["badRequest"]["message"] == f"{key} is {value!r}, but {words}"


def test_a_promise_of_an_image_is_refused_and_a_value_that_promises_nothing_is_not(standing_fleet: Fleet) -> None:
    standing_fleet.flavor("optional", vcpus=1)
    standing_fleet.ask("POST", "/flavors/optional/os-extra_specs", {"extra_specs": {"os:secure_boot": "optional"}}, status=200)
    standing_fleet.create("vm", "optional")
    (standing_fleet.images / "probe.toml").write_text('hw_tpm_version = "2.0"\n', encoding="ascii")
    answer = standing_fleet.ask("POST", "/servers", {"server": server_body("vm", "optional")}, status=400)
    assert "the image's hw_tpm_version is '2.0', but a server gets no emulated TPM" in answer.text
