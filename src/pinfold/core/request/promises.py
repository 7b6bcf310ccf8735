"""Make the request of a server, and refuse what its flavor or image promises to it and the service would not keep.

An audit, which only looks, and a host without a service use `compile_request`, which lists such keys as not acted upon.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.key_table import Disposition, Key
from pinfold.core.request.keys import find, find_image
from pinfold.core.request.model import Flavor, GuestRequest, Image

_MOST_REMEMBERED: Final = 64


@lru_cache(maxsize=_MOST_REMEMBERED)  # many servers are of few flavors and images, and reading all keys anew is a tenth of a create's calls
def compile_for_server(flavor: Flavor, image: Image | None = None, *, disks: int = 0, nics: int = 0) -> GuestRequest:
    """The request of a server. Raises `InvalidRequest` as `compile_request` does, and for a key that promises what no server gets."""
    refuse_unkept(flavor, image if image is not None else Image())
    return compile_request(flavor, image, disks=disks, nics=nics)


def refuse_unkept(flavor: Flavor, image: Image) -> None:
    """Raise `InvalidRequest` for the first key, by name, that promises what no server gets.

    >>> refuse_unkept(Flavor(vcpus=1, memory_mib=64, extra_specs=(("hw:ephemeral_encryption", "no"),)), Image())
    """
    for name, value in flavor.extra_specs:
        _refuse(name, value, find(name))
    for name, value in image.properties:
        _refuse(f"the image's {name}", value, find_image(name))


def _refuse(name: str, value: str, key: Key | None) -> None:
    if key is None or key.disposition is not Disposition.UNKEPT or value.lower() in key.harmless:
        return
    allowed = f"set it to {' or '.join(key.harmless[:2])}" if key.harmless else key.instead
    raise InvalidRequest(f"{name} is {value[:64]!r}, but a server gets no {key.reason}; remove the key, or {allowed}", key=name)
