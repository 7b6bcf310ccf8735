"""What a guest's config drive holds: the value, and its files as OpenStack lays them out, which cloud-init and Ignition read. Pure.

Source: "Metadata service" and "Config drives" in the user guide of OpenStack Nova.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.networks import Port, network_id

MOST_USER_DATA: Final = 65_535
"""The most characters of user data in base64, as in Nova."""
MOST_PASSWORD: Final = 255
LABEL: Final = "config-2"
"""The label of the file system, by which guests find the drive."""
_ANY: Final = "0.0.0.0"  # noqa: S104
"""Address and mask of the default route."""
VERSIONS: Final = ("2018-08-27", "latest")
"""The versions of the metadata on the drive: the newest that cloud-init looks for, and the name of the newest."""
USER_DATA: Final = "openstack/latest/user_data"
META_DATA: Final = "openstack/latest/meta_data.json"

_Text = Annotated[str, Meta(max_length=1024)]


class Kept(Enum):
    """What a guest that gets another config drive keeps of the one that it has: its user data, its public key."""

    USER_DATA = "user_data"
    KEY = "key"


class GuestConfig(Struct, frozen=True, kw_only=True):
    """What a guest is given on its config drive. `user_data` is base64. `user_data` and `admin_pass` are secrets: no log, answer or story
    shows them. `kept` are the parts that a guest keeps of the drive that it has.
    """

    name: _Text
    hostname: _Text
    project: _Text = ""
    zone: _Text = ""
    launch_index: Annotated[int, Meta(ge=0, le=10_000)] = 0
    metadata: Annotated[tuple[tuple[_Text, _Text], ...], Meta(max_length=1024)] = ()
    key_name: _Text = ""
    public_key: Annotated[str, Meta(max_length=16_384)] = ""
    user_data: Annotated[str, Meta(max_length=MOST_USER_DATA)] = ""
    admin_pass: Annotated[str, Meta(max_length=MOST_PASSWORD)] = ""
    kept: tuple[Kept, ...] = ()

    def __repr__(self) -> str:
        """The name alone, so that no traceback or log shows a secret."""
        return f"GuestConfig(name={self.name!r}, …)"


def decoded_user_data(text: str) -> bytes:
    """The bytes of user data in base64; line breaks are allowed. Raises `InvalidRequest`, which does not show the text.

    >>> decoded_user_data("I2Nsb3VkLWNvbmZpZw==")
    b'#cloud-config'
    """
    if len(text) > MOST_USER_DATA:
        raise InvalidRequest(
            f"user_data has {len(text)} characters; at most {MOST_USER_DATA} characters of base64 are allowed", key="user_data"
        )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise InvalidRequest("user_data is not base64; the client encodes it, or `base64 -w0 FILE` does", key="user_data") from error


def drive_files(
    guest: GuestId, config: GuestConfig, *, dedicated: tuple[int, ...], seed: bytes, ports: tuple[Port, ...] = ()
) -> tuple[tuple[str, bytes], ...]:
    """The files of a drive, `(path, content)`, ordered by path. `dedicated` are the pinned vCPUs, `seed` is random, `ports` are the guest's
    interfaces.
    """
    files = {
        "meta_data.json": _json(_meta_data(guest, config, dedicated, seed)),
        "network_data.json": _json(_network_data(ports)),
        "vendor_data.json": _json({}),
    }
    if config.user_data:
        files["user_data"] = decoded_user_data(config.user_data)
    return tuple(sorted((f"openstack/{version}/{name}", content) for version in VERSIONS for name, content in files.items()))


def with_kept(config: GuestConfig, before: Mapping[str, bytes]) -> GuestConfig:
    """The configuration with what is kept of the drive before, of which these are files by path. Raises `InvalidRequest` for a drive that
    does not hold what every drive holds.

    >>> config = GuestConfig(name="vm1", hostname="vm1", kept=(Kept.USER_DATA,))
    >>> with_kept(config, {USER_DATA: b"#cloud-config"}).user_data
    'I2Nsb3VkLWNvbmZpZw=='
    """
    made = replace(config, kept=())
    if Kept.USER_DATA in config.kept and USER_DATA in before:
        made = replace(made, user_data=base64.b64encode(before[USER_DATA]).decode())
    if Kept.KEY in config.kept:
        for name, key in _public_keys(before.get(META_DATA, b"")):
            made = replace(made, key_name=name, public_key=key)
    return made


def _public_keys(meta_data: bytes) -> tuple[tuple[str, str], ...]:
    try:
        found = json.loads(meta_data).get("public_keys", {})
    except (ValueError, AttributeError) as error:
        raise InvalidRequest(f"the guest's config drive has no metadata that can be read ({error})", key="config_drive") from error
    return tuple((str(name), str(key)) for name, key in found.items()) if isinstance(found, dict) else ()


def _meta_data(guest: GuestId, config: GuestConfig, dedicated: tuple[int, ...], seed: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uuid": guest,
        "name": config.name,
        "hostname": config.hostname,
        "launch_index": config.launch_index,
        "availability_zone": config.zone or None,
        "project_id": config.project,
        "random_seed": base64.b64encode(seed).decode(),
        "devices": [],
        "dedicated_cpus": list(dedicated),
    }
    if config.metadata:
        found["meta"] = dict(config.metadata)
    if config.public_key:
        found["public_keys"] = {config.key_name: config.public_key}
        found["keys"] = [{"name": config.key_name, "type": "ssh", "data": config.public_key}]
    if config.admin_pass:
        found["admin_pass"] = config.admin_pass
    return found


def _network_data(ports: tuple[Port, ...]) -> dict[str, Any]:
    """What cloud-init configures the guest's interfaces by: a static address, or DHCP.

    Source: "network_data.json" in the user guide of OpenStack Nova; keys as its `nova.virt.netutils` writes them.
    """
    links = [
        {"id": f"tap{port.id[:11]}", "vif_id": port.id, "type": "phy", "mtu": port.mtu or None, "ethernet_mac_address": port.mac}
        for port in ports
    ]
    networks = [_guest_network(number, port) for number, port in enumerate(ports)]
    servers = dict.fromkeys(server for port in ports if port.static is not None for server in port.static.dns)
    return {"links": links, "networks": networks, "services": [{"type": "dns", "address": server} for server in servers]}


def _guest_network(number: int, port: Port) -> dict[str, Any]:
    found: dict[str, Any] = {"id": f"network{number}", "link": f"tap{port.id[:11]}", "network_id": network_id(port.network)}
    if port.static is None:
        return found | {"type": "ipv4_dhcp"}
    static = port.static
    routes = [{"network": _ANY, "netmask": _ANY, "gateway": static.gateway}] if static.gateway else []
    address = {"type": "ipv4", "ip_address": port.address, "netmask": static.netmask, "routes": routes}
    return found | address | {"services": [{"type": "dns", "address": server} for server in static.dns]}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
