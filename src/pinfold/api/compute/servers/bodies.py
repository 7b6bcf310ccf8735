"""Schemas of the bodies of server routes. Unknown keys are refused; known keys without a meaning in pinfold are refused by name."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from pinfold.api.compute.flavors.bodies import BooleanWord
from pinfold.api.compute.names import Name
from pinfold.api.compute.servers.networks import RequestedNetworks
from pinfold.api.errors import ApiError
from pinfold.api.text_pattern import TextPattern
from pinfold.core.config_drive import MOST_PASSWORD, MOST_USER_DATA
from pinfold.core.errors import InvalidRequest

Text = Annotated[str, Field(max_length=255)]
MetadataKey = Annotated[
    str, TextPattern(pattern=r"^[a-zA-Z0-9-_:. ]{1,255}$", allowed="a key has 1 to 255 letters, digits, blanks and -_:. and nothing else")
]
Metadata = dict[MetadataKey, Text]
Tag = Annotated[str, Field(min_length=1, max_length=60), TextPattern(pattern=r"^[^,/]*$", allowed="a tag has no comma and no slash")]
MOST_TAGS: Final = 50
"""The most tags of a server."""
Many = Annotated[int, Field(ge=1, le=300)]

_MEANINGLESS: Final = (
    "personality",
    "trusted_image_certificates",
    "block_device_mapping",
)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class BlockDevice(_Closed):
    """A disk of a new server. It can only be the image itself as the boot disk, which clients send beside `imageRef`."""

    uuid: Text = ""
    source_type: Literal["image", "blank", "snapshot", "volume"] = "image"
    destination_type: Literal["local", "volume"] | None = None
    boot_index: int | str | None = 0
    delete_on_termination: bool = True
    volume_size: int | None = None
    device_name: Text | None = None
    disk_bus: Text | None = None
    device_type: Text | None = None
    guest_format: Text | None = None
    tag: Text | None = None


class NewServer(_Closed):
    """The body of a create."""

    name: Name
    flavor: Annotated[str | int, Field(alias="flavorRef")]
    image: Annotated[Text, Field(alias="imageRef")] = ""
    networks: RequestedNetworks = None
    metadata: Metadata = Field(default_factory=dict)
    description: Text | None = None
    availability_zone: Text | None = None
    host: Text | None = None
    hypervisor_hostname: Text | None = None
    hostname: Text | None = None
    min_count: Many | None = None
    max_count: Many | None = None
    return_reservation_id: StrictBool | str = False
    block_device_mapping_v2: Annotated[list[BlockDevice], Field(max_length=16)] = Field(default_factory=list)
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = Field(default_factory=list)
    config_drive: BooleanWord | Literal[""] | None = None
    disk_config: Annotated[Literal["AUTO", "MANUAL"], Field(alias="OS-DCF:diskConfig")] = "MANUAL"
    key_name: Text | None = None
    user_data: Annotated[str, Field(max_length=MOST_USER_DATA)] | None = None
    security_groups: Any = None
    personality: Any = None
    admin_pass: Annotated[str | None, Field(alias="adminPass", max_length=MOST_PASSWORD)] = None
    access_ipv4: Annotated[Text | None, Field(alias="accessIPv4")] = None
    access_ipv6: Annotated[Text | None, Field(alias="accessIPv6")] = None
    trusted_image_certificates: Any = None
    block_device_mapping: Any = None


class CreateServer(_Closed):
    """The envelope of a create. `scheduler_hints` says which scheduler hints are kept."""

    server: NewServer
    hints: Annotated[dict[str, Any], Field(alias="os:scheduler_hints")] = Field(default_factory=dict)
    old_hints: Annotated[dict[str, Any], Field(alias="OS-SCH-HNT:scheduler_hints")] = Field(default_factory=dict)


class ServerChange(_Closed):
    """The changes to a server: its name, its description and the addresses that its owner notes."""

    name: Name | None = None
    description: Text | None = None
    hostname: Text | None = None
    access_ipv4: Annotated[Text | None, Field(alias="accessIPv4")] = None
    access_ipv6: Annotated[Text | None, Field(alias="accessIPv6")] = None
    disk_config: Annotated[Literal["AUTO", "MANUAL"] | None, Field(alias="OS-DCF:diskConfig")] = None


class UpdateServer(_Closed):
    """The envelope of an update."""

    server: ServerChange


class ServerMetadata(_Closed):
    """A server's metadata."""

    metadata: Metadata


class OneMetadatum(_Closed):
    """One entry of a server's metadata."""

    meta: Annotated[Metadata, Field(min_length=1, max_length=1)]


class HasAddresses(Protocol):
    """A body with the addresses that a server's owner notes."""

    access_ipv4: str | None
    access_ipv6: str | None


def access_addresses(asked: HasAddresses) -> dict[str, str | None]:
    """The addresses that a server's owner notes, as details of its guest, in their shortest form; None removes one. Raises `InvalidRequest`
    for a wrong one.
    """
    noted: dict[str, str | None] = {}
    for key, value, version in (("accessIPv4", asked.access_ipv4, 4), ("accessIPv6", asked.access_ipv6, 6)):
        if value is None:
            continue
        noted[key] = _address(key, value, version) if value else None
    return noted


def _address(key: str, text: str, version: int) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or found.version != version:
        raise InvalidRequest(f"{key} {text!r} is no IPv{version} address", key=key)
    return str(found)


def refuse_meaningless(body: CreateServer) -> None:
    """Raise `ApiError` 501 for features that pinfold lacks: volumes, files; `InvalidRequest` for security groups, none of which exists."""
    asked = body.server.model_dump(by_alias=True)
    for key in _MEANINGLESS:
        if asked[key] not in (None, "", [], {}):
            raise ApiError(501, f"{key} is not supported; what a server is given is its key pair, user data and password.")
    if asked["security_groups"] not in (None, []):
        raise InvalidRequest(
            "security_groups names a security group, and pinfold has none: filter packets in the guest, or on the operator's network",
            key="security_groups",
        )
    for device in body.server.block_device_mapping_v2:
        if device.source_type != "image" or device.destination_type not in (None, "local") or str(device.boot_index) != "0":
            raise ApiError(
                501, "block_device_mapping_v2 may hold the server's own image as local boot disk alone; volumes are not supported."
            )
        _refuse_other_disk(device)
        if body.server.image and device.uuid != body.server.image:
            raise ApiError(400, "block_device_mapping_v2 names another image than imageRef.")


def _refuse_other_disk(device: BlockDevice) -> None:
    """Raise `ApiError` 501 for a boot disk that is another device than the one that a server gets."""
    for key, value, given in (("disk_bus", device.disk_bus, "virtio"), ("device_type", device.device_type, "disk")):
        if value and value != given:
            raise ApiError(501, f"block_device_mapping_v2 has {key} {value!r}; a server's boot disk has {given!r} and no other.")
