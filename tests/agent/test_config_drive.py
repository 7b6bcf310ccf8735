"""The image of a config drive, read back by the names of Joliet and of Rock Ridge."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pycdlib
import pytest
from tests.build.orders import order

from pinfold.agent.client import ServiceClient
from pinfold.agent.config_drive import fetched_drive, iso_image
from pinfold.core.config_drive import META_DATA, USER_DATA, GuestConfig, Kept
from pinfold.core.errors import InvalidRequest

FILES = (("openstack/2018-08-27/user_data", b"x" * 65_535), ("openstack/latest/meta_data.json", b"{}"), ("openstack/latest/user_data", b""))


def test_every_file_is_read_back_and_the_label_is_the_one_that_guests_look_for() -> None:
    image = iso_image(FILES)
    assert image[32808:32840].rstrip() == b"config-2"
    opened = pycdlib.PyCdlib()
    opened.open_fp(io.BytesIO(image))
    for path, content in FILES:
        for names in ({"joliet_path": f"/{path}"}, {"rr_path": f"/{path}"}):
            read = io.BytesIO()
            opened.get_file_from_iso_fp(read, **names)
            assert read.getvalue() == content, names
    opened.close()


def made(config: GuestConfig, before: Path | None = None) -> bytes:
    """The drive of a guest whose service says this."""
    service = cast("ServiceClient", SimpleNamespace(config=lambda _: config))
    return fetched_drive(service, order(), before)


def read(image: bytes, name: str) -> bytes | None:
    opened, content = pycdlib.PyCdlib(), io.BytesIO()
    opened.open_fp(io.BytesIO(image))
    try:
        opened.get_file_from_iso_fp(content, joliet_path=f"/{name}")
    except pycdlib.pycdlibexception.PyCdlibInvalidInput:
        return None
    finally:
        opened.close()
    return content.getvalue()


FIRST = GuestConfig(
    name="vm1", hostname="vm1", key_name="mine", public_key="ssh-ed25519 AAAA", user_data="I2Nsb3VkLWNvbmZpZw==", admin_pass="x"
)


@pytest.mark.parametrize(
    ("kept", "user_data", "keys"),
    [
        ((), None, None),
        ((Kept.USER_DATA,), b"#cloud-config", None),
        ((Kept.KEY,), None, {"mine": "ssh-ed25519 AAAA"}),
        ((Kept.USER_DATA, Kept.KEY), b"#cloud-config", {"mine": "ssh-ed25519 AAAA"}),
    ],
)
def test_a_new_drive_keeps_of_the_old_one_what_the_service_says_and_never_its_password(
    tmp_path: Path, kept: tuple[Kept, ...], user_data: bytes | None, keys: Any
) -> None:
    before = tmp_path / "old.iso"
    before.write_bytes(made(FIRST))
    image = made(GuestConfig(name="vm2", hostname="vm2", kept=kept), before)
    meta = json.loads(read(image, META_DATA) or b"")
    assert (meta["name"], meta.get("public_keys"), meta.get("admin_pass")) == ("vm2", keys, None)
    assert read(image, USER_DATA) == user_data


def test_a_drive_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    before = tmp_path / "old.iso"
    before.write_bytes(b"no drive" * 10_000)
    with pytest.raises(InvalidRequest, match=r"the config drive \S+/old.iso, of which the guest keeps a part, cannot be read"):
        made(GuestConfig(name="vm2", hostname="vm2", kept=(Kept.KEY,)), before)
