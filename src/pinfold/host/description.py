"""A guest as its user describes it on one host without a service, and what becomes of it once it has a place. Pure."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.request.model import GuestRequest
from pinfold.drivers.port import Boot, GuestSpec, Record

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)


class GuestDescription(Struct, frozen=True, kw_only=True):
    """A guest to place: its name, its request, what it boots, and the text of its template or ''. `flavor` is a name for people.

    The image in `boot.disk` is not changed: the guest writes to an overlay, of size `request.disk_gib` if given. `virt_type` is `kvm`,
    `qemu` or '' for the best that the host has.
    """

    name: str
    request: GuestRequest
    flavor: str = ""
    boot: Boot = Boot()
    template: str = ""
    virt_type: str = ""


def check_name(name: str) -> None:
    """Raises `InvalidRequest` if the name is not valid as a file name, a domain name and a shell word."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"guest name {name!r} is not allowed: 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit", key="name"
        )


def placed(wanted: GuestDescription, found: Fit, guest: GuestId, claim: ClaimId | None = None) -> GuestSpec:
    """The guest with that id in the place that was found."""
    request = wanted.request
    record = Record(guest=guest, policy=request.emulator_policy, fit=found, claim=claim, flavor=wanted.flavor, owner=OWNER, request=request)
    return GuestSpec(
        name=wanted.name, request=request, record=record, boot=wanted.boot, template=wanted.template, virt_type=wanted.virt_type
    )
