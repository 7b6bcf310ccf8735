"""Orders as the service gives them to an agent."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.build.fits import fit as fitted
from tests.build.requests import pinned

from pinfold.agent.wire import GuestOrder
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.request.model import GuestRequest
from pinfold.store.records import ClaimRole, ClaimState, Desired, WrittenClaim


def order(
    guest: str = "g",
    desired: Desired = Desired.RUNNING,
    *,
    claim: str = "c",
    revision: int = 3,
    held: int | None = None,
    boot: int = 1,
    request: GuestRequest | None = None,
    fit: Fit | None = None,
    **more: Any,
) -> GuestOrder:
    """An order for one guest of one vCPU. Its claim was held at `revision` unless told otherwise."""
    made = WrittenClaim(
        id=ClaimId(claim),
        state=ClaimState.HELD,
        role=ClaimRole.RUNS,
        revision=revision,
        held=revision if held is None else held,
        amounts={"PCPU": 1},
        fit=fit or fitted("2"),
    )
    parts = {"name": "vm", "flavor": "f"} | more
    return GuestOrder(guest=GuestId(guest), claim=made, desired=desired, boot=boot, request=request or pinned(1), **parts)


def amended(given: GuestOrder, **parts: Any) -> GuestOrder:
    """The order with these parts of its claim changed."""
    return replace(given, claim=replace(given.claim, **parts))
