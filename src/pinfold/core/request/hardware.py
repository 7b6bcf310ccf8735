"""Read the hardware of a guest from its flavor and image. `guest_hardware` has the values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.core.request.values import SpecValue, boolean, not_allowed, whole_number, word

T = TypeVar("T")
MOST_SHARES: Final = 262144
_LEAST_PERIOD: Final = 1000
_MOST_PERIOD: Final = 1_000_000
_MOST_QUOTA: Final = 17_592_186_044_415
"""The bounds of libvirt's `<period>` in microseconds and of its `<quota>`, 2^44 - 1."""
_MACHINE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_WATCHDOG: Final = {action: action for action in ("none", "pause", "poweroff", "reset", "disabled")}


class One(Protocol):
    """The value on which flavor and image agree, read by the function; None if neither gives one."""

    def __call__(self, key: str, read: Callable[[str, str], T], /) -> SpecValue[T] | None:
        """The value of a key."""
        ...


def read_hardware(one: One) -> GuestHardware:
    """The hardware that flavor and image ask for. Raises `InvalidRequest` for a malformed value, and for a limit of random numbers without
    the device.
    """

    def value(key: str, read: Callable[[str, str], T], default: T) -> T:
        found = one(key, read)
        return default if found is None else found.value

    watchdog = value("hw:watchdog_action", lambda name, text: word(_WATCHDOG, name, text), "disabled")
    device, allowed = one("hw_rng_model", _random_model), one("hw_rng:allowed", boolean)
    rate, period = one("hw_rng:rate_bytes", _amount), one("hw_rng:rate_period", _amount)
    random = device is not None and (allowed is None or allowed.value)
    for limit in (rate, period):
        if limit is not None and allowed is not None and not allowed.value:
            raise InvalidRequest(f"{limit.said()}, but {allowed.said()}; a limit needs the device", key=limit.name)
    if period is not None and rate is None:
        raise InvalidRequest(f"{period.said()}, but hw_rng:rate_bytes is not set; a period needs an amount", key=period.name)
    return GuestHardware(
        machine=value("hw_machine_type", _machine, ""),
        watchdog="" if watchdog == "disabled" else watchdog,
        random=random,
        random_bytes=rate.value if random and rate is not None else 0,
        random_ms=period.value if random and period is not None else 0,
        performance_unit=_given(one("hw:pmu", boolean)),
        hidden=value("hw:hide_hypervisor_id", boolean, False),
        cpu_shares=value("quota:cpu_shares", lambda name, text: whole_number(name, text, least=2, most=MOST_SHARES), 0),
        cpu_period_us=value("quota:cpu_period", lambda name, text: whole_number(name, text, least=_LEAST_PERIOD, most=_MOST_PERIOD), 0),
        cpu_quota_us=value("quota:cpu_quota", lambda name, text: whole_number(name, text, least=_LEAST_PERIOD, most=_MOST_QUOTA), 0),
    )


def _given(found: SpecValue[Any] | None) -> Any:
    return None if found is None else found.value


def _amount(name: str, text: str) -> int:
    return whole_number(name, text, least=1, most=2**31 - 1)


def _random_model(name: str, text: str) -> str:
    return word({"virtio": "virtio"}, name, text)


def _machine(name: str, text: str) -> str:
    if not _MACHINE.fullmatch(text):
        raise not_allowed(name, text)
    return text
