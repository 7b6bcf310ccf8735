"""What a new server is given on its config drive: key pair, user data, password, addresses. It has a drive if it is given any, or asks for
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pinfold.api.caller import Caller
from pinfold.api.compute.servers.bodies import NewServer
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage
from pinfold.core.config_drive import GuestConfig, decoded_user_data
from pinfold.core.errors import InvalidRequest
from pinfold.store import key_pairs
from pinfold.store.records import KeyPairRecord, WantedPort

_IMAGE_KEY: Final = "img_config_drive"
_IMAGE_VALUES: Final = ("mandatory", "optional")


def config_of(
    services: ApiServices, asked: NewServer, caller: Caller, image: CatalogImage, ports: Sequence[WantedPort]
) -> GuestConfig | None:
    """The configuration that all servers of the request share, without names; None for servers without a config drive. A server with an
    address of a static range has one.

    Raises `ApiError` 400 for a key pair that the account has not, `InvalidRequest` for user data that is not base64, and for a request
    without a config drive that needs one.
    """
    given = {"key_name": asked.key_name, "user_data": asked.user_data, "adminPass": asked.admin_pass}
    needed = [key for key, value in given.items() if value]
    if is_by_image(image):
        needed.append(f"what the image's {_IMAGE_KEY}=mandatory asks for")
    needed += [f"the address on network {port.network}" for port in ports if port.static is not None]
    if needed and asked.config_drive is False:
        raise InvalidRequest(
            f"config_drive is false, but only a config drive brings {' and '.join(needed)} to a server", key="config_drive"
        )
    if not needed and not asked.config_drive:
        return None
    config = GuestConfig(name="", hostname="", project=caller.project, user_data=asked.user_data or "", admin_pass=asked.admin_pass or "")
    decoded_user_data(config.user_data)
    if not asked.key_name:
        return config
    pair = key_pair_of(services, caller, asked.key_name)
    return replace(config, key_name=pair.name, public_key=pair.public_key)


def key_pair_of(services: ApiServices, caller: Caller, name: str) -> KeyPairRecord:
    """The caller's key pair of that name. Raises `ApiError` 400 if there is none."""
    with services.database.read() as connection:
        pair = key_pairs.find(connection, caller.user, name)
    if pair is None:
        raise ApiError(400, f"Invalid key_name provided: the account {caller.name} has no key pair {name!r}.")
    return pair


def is_by_image(image: CatalogImage) -> bool:
    """Whether the image says that its servers have a config drive. Raises `InvalidRequest` for an unknown word."""
    value = dict(image.properties).get(_IMAGE_KEY, "optional")
    if value not in _IMAGE_VALUES:
        raise InvalidRequest(f"the image's {_IMAGE_KEY} is {value[:64]!r}; {' and '.join(_IMAGE_VALUES)} are allowed", key=_IMAGE_KEY)
    return value == "mandatory"
