"""The ids of guests, hosts and claims, as distinct types, so that mypy finds a mix-up. Each is a UUID in text form."""

from __future__ import annotations

from typing import NewType

GuestId = NewType("GuestId", str)
HostId = NewType("HostId", str)
ClaimId = NewType("ClaimId", str)
