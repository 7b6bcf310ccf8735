"""Refuse what a flavor or an image promises to a guest and the service would not keep. An audit, which only looks, does not ask here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import Flavor, Image


class _Promise(Struct, frozen=True, kw_only=True):
    """A key, or with `:` at its end every key that begins so, and its image property. `harmless` are the values that promise nothing, in
    lower case; `instead` says what else to do.
    """

    key: str
    what: str
    image: str = ""
    harmless: tuple[str, ...] = ()
    instead: str = "use another flavor or image"


_OFF: Final = ("false", "no", "off", "f", "n", "0")
_PROMISES: Final = (
    _Promise(key="os:secure_boot", what="secure boot", image="os_secure_boot", harmless=("disabled", "optional")),
    _Promise(key="hw:tpm_version", what="emulated TPM", image="hw_tpm_version"),
    _Promise(key="hw:tpm_model", what="emulated TPM", image="hw_tpm_model"),
    _Promise(key="hw:ephemeral_encryption", what="encrypted disks", image="hw_ephemeral_encryption", harmless=_OFF),
    _Promise(key="quota:", what="limits on CPU time, disk and network"),
    _Promise(
        key="aggregate_instance_extra_specs:",
        what="host chosen by the metadata of its aggregates",
        instead="use trait:NAME or an availability zone",
    ),
)


def refuse_unkept(flavor: Flavor, image: Image) -> None:
    """Raise `InvalidRequest` for the first key, by name, that promises what no guest of the service gets.

    >>> refuse_unkept(Flavor(vcpus=1, memory_mib=64, extra_specs=(("os:secure_boot", "optional"),)), Image())
    """
    for name, value in flavor.extra_specs:
        _refuse(name, value, (promise for promise in _PROMISES if _names(promise, name)))
    for name, value in image.properties:
        _refuse(f"the image's {name}", value, (promise for promise in _PROMISES if promise.image == name))


def _names(promise: _Promise, name: str) -> bool:
    return name.startswith(promise.key) if promise.key.endswith(":") else name == promise.key


def _refuse(name: str, value: str, found: Iterable[_Promise]) -> None:
    for promise in found:
        if value.lower() in promise.harmless:
            continue
        allowed = f"set it to {' or '.join(promise.harmless[:2])}" if promise.harmless else promise.instead
        raise InvalidRequest(f"{name} is {value[:64]!r}, but a server gets no {promise.what}; remove the key, or {allowed}", key=name)
