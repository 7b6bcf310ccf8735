"""Attach interfaces to a domain that exists, and detach them: while it runs, and in its definition. Idempotent, by MAC address.

A running guest has to let go of an interface, and may never do so: its firmware and its kernel before it has loaded its drivers do not
hear, and nor does a guest without a driver for hotplug. So an interface leaves the running domain first, and its definition after that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.drivers.libvirt import domain, interfaces
from pinfold.drivers.libvirt.connection import libvirt
from pinfold.drivers.libvirt.guests import Guests
from pinfold.drivers.port import Interface

Answer = TypeVar("Answer")

_SECONDS: Final = 30.0
"""How long one call may take. libvirt itself waits up to 5 seconds for a guest to let go of a device."""
_AGAIN_SECONDS: Final = 5.0
"""How often a guest is asked, as in Nova: one that is booting does not hear the first time."""
_LOOK_SECONDS: Final = 0.2


def attach(guests: Guests, guest: GuestId, interface: Interface) -> None:
    """Attach an interface where it is not attached yet. Raises `InvalidRequest` if libvirt refuses."""

    def act(connection: Any) -> None:
        found = guests.domain(guest, connection)
        flags = 0
        if found.isActive() and interface.mac not in interfaces.macs_of(found.XMLDesc(0)):
            flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
        if found.isPersistent() and interface.mac not in interfaces.macs_of(domain.definition(found)):
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if flags:
            found.attachDeviceFlags(interfaces.text(interface), flags)

    what = f"an interface on network {interface.network.name} cannot be attached to guest {guest}"
    guests.act(guest, "attachment", what, _SECONDS, act)


def detach(guests: Guests, guest: GuestId, mac: str, seconds: float) -> None:
    """Detach the interface with that MAC address. Raises `InvalidRequest` if the running guest has not let go of it within `seconds`; its
    definition still has it then.
    """
    until, again, first = time.monotonic() + seconds, 0.0, True
    while _detaching(guests, guest, mac, _runs_with):
        if time.monotonic() >= until:
            raise InvalidRequest(
                f"the guest has not let go of the interface {mac} within {seconds:.0f} seconds, so it stays; a guest without a driver for "
                "hotplug loses it when it is stopped first",
                key="guest",
            )
        if time.monotonic() >= again:
            _detaching(guests, guest, mac, _ask if first else _ask_again)
            again, first = time.monotonic() + _AGAIN_SECONDS, False
        else:
            time.sleep(_LOOK_SECONDS)
    _detaching(guests, guest, mac, _forget)


def _detaching(guests: Guests, guest: GuestId, mac: str, act: Callable[[Any, str], Answer]) -> Answer:
    what = f"the interface {mac} cannot be detached from guest {guest}"
    return guests.act(guest, "detachment", what, _SECONDS, lambda connection: act(guests.domain(guest, connection), mac))


def _runs_with(found: Any, mac: str) -> bool:
    return bool(found.isActive()) and mac in interfaces.macs_of(found.XMLDesc(0))


def _ask(found: Any, mac: str) -> None:
    """Ask the running guest to let go. One that has ended has none."""
    try:
        if text := interfaces.find(found.XMLDesc(0), mac):
            found.detachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError:
        if found.isActive():
            raise


def _ask_again(found: Any, mac: str) -> None:
    """Ask once more. QEMU refuses that while it waits for the guest, which is of no interest."""
    with suppress(libvirt.libvirtError):
        _ask(found, mac)


def _forget(found: Any, mac: str) -> None:
    if found.isPersistent() and (text := interfaces.find(domain.definition(found), mac)):
        found.detachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
