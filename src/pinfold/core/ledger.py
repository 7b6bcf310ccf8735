"""`claim`, `release` and `amend` return a host's next state; `roles` says what each pCPU is used for.

`core.fit` decides fits, `store` stores states, and `core.drift` compares them with what the host shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from enum import Enum
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.overhead.booking import overbooked_cells
from pinfold.core.overhead.pool import pool_of

_guest = attrgetter("guest")


class Role(Enum):
    """What one pCPU of dedicated ∪ retiring is used for. Each has exactly one role."""

    FREE = "free"
    VCPU = "vcpu"
    EMULATOR = "emulator"
    IDLE_SIBLING = "idle sibling"
    FOREIGN = "foreign"


class PcpuRole(Struct, frozen=True, kw_only=True):
    """The role of one pCPU of dedicated ∪ retiring, and the guest that it serves.

    `guest` is '' for a free pCPU and the domain's name for a foreign one. `vcpu` is set only for VCPU.
    """

    pcpu: int
    role: Role
    retiring: bool = False
    guest: str = ""
    vcpu: int | None = None


def holds(fit: Fit) -> tuple[tuple[int, Role, int | None], ...]:
    """`(pCPU, role, vCPU)` of each pCPU that only this guest may use by its fit, ascending. The vCPU is None for other roles."""
    held: list[tuple[int, Role, int | None]] = [(pcpu, Role.VCPU, vcpu) for vcpu, pcpu in fit.pins]
    held += [(pcpu, Role.IDLE_SIBLING, None) for pcpu in fit.idle_siblings]
    held += [] if fit.emulator_pcpu is None else [(fit.emulator_pcpu, Role.EMULATOR, None)]
    return tuple(sorted(held, key=lambda one: one[0]))


def claim(state: HostState, guest: GuestId, fit: Fit, id: ClaimId | None = None) -> HostState:  # noqa: A002
    """The state with `fit` claimed by `guest`; the revision increases by one.

    The fit has already decided memory, shared room and the sum of bookings; they are not checked again here.
    Raises `Conflict` if the guest has that claim already, if a pCPU belongs to another claim or to something foreign, or if the part of
    the overhead pool on a cell has no room for what the fit books there.
    """
    return add_claim(state, Claim(guest=guest, fit=fit, id=id))


def add_claim(state: HostState, new: Claim, free: int = 0, taken: int | None = None) -> HostState:
    """The same for a claim that the caller has. `free` is a mask of pCPUs that belong to nobody, where the caller has counted them: a fit
    on those alone is not compared with each claim. `taken` is the fit's `taken_mask`, where the caller has it.
    """
    guest, fit, ledger = new.guest, new.fit, state.ledger
    claims = tuple(ledger.claims)  # packed claims are unpacked once
    at = _position(claims, guest, new.id)
    if at < len(claims) and claims[at].guest == guest and claims[at].id == new.id:
        raise Conflict(f"guest {guest} has a claim on host {state.name or '(unnamed)'} already")
    if (fit.taken_mask if taken is None else taken) & ~free:
        _check_owners(ledger, fit.taken)
    for lacking in overbooked_cells(pool_of(state), fit.overhead_cells, ledger) if fit.overhead_cells else ():
        raise Conflict(f"{lacking.sentence()} by now")
    return _with_claims(state, (*claims[:at], new, *claims[at:]))


def add_claims(state: HostState, new: Sequence[Claim]) -> HostState:
    """The same for several claims, one after another. The caller has found that their pCPUs belong to nobody, and that none books a part of
    the overhead pool.
    """
    claims = [*state.ledger.claims]
    for one in new:
        at = _position(claims, one.guest, one.id)
        if at < len(claims) and claims[at].guest == one.guest and claims[at].id == one.id:
            raise Conflict(f"guest {one.guest} has a claim on host {state.name or '(unnamed)'} already")
        claims.insert(at, one)
    return _with_claims(state, tuple(claims), len(new))


def _check_owners(ledger: Ledger, taken: CpuSet) -> None:
    for other in ledger.claims:
        if not taken.isdisjoint(other.fit.taken):
            raise Conflict(f"pCPU {(taken & other.fit.taken).first} belongs to guest {other.guest} by now")
    for foreign in ledger.foreign:
        if not taken.isdisjoint(foreign.cpus):
            raise Conflict(f"pCPU {(taken & foreign.cpus).first} belongs to {foreign.name}, which is not ours")


def release(state: HostState, guest: GuestId, id: ClaimId | None = None) -> HostState:  # noqa: A002
    """The state without that claim of `guest`; the revision increases by one. Raises `Conflict` if it has no such claim."""
    return remove_claim(state, guest, id)[1]


def remove_claim(state: HostState, guest: GuestId, id: ClaimId | None = None) -> tuple[Claim, HostState]:  # noqa: A002
    """That claim of `guest`, and the state without it; the revision increases by one. Raises `Conflict` if it has no such claim."""
    claims = tuple(state.ledger.claims)
    at = _position(claims, guest, id)
    if at == len(claims) or (claims[at].guest, claims[at].id) != (guest, id):
        raise Conflict(f"guest {guest} has no claim on host {state.name or '(unnamed)'}")
    return claims[at], _with_claims(state, (*claims[:at], *claims[at + 1 :]))


def amend(state: HostState, guest: GuestId, fit: Fit, id: ClaimId | None = None) -> HostState:  # noqa: A002
    """The state with another fit in that claim of `guest`; the revision increases by one. The caller has checked the fit.

    Raises `Conflict` if the guest has no such claim.
    """
    claims = tuple(release(state, guest, id).ledger.claims)
    at = _position(claims, guest, id)
    return _with_claims(state, (*claims[:at], Claim(guest=guest, fit=fit, id=id), *claims[at:]))


def _position(claims: Sequence[Claim], guest: GuestId, id: ClaimId | None) -> int:  # noqa: A002
    """Where the claim is, or belongs."""
    at = bisect_left(claims, guest, key=_guest)
    while at < len(claims) and claims[at].guest == guest and (claims[at].id or "") < (id or ""):
        at += 1
    return at


def _with_claims(state: HostState, claims: tuple[Claim, ...], changes: int = 1) -> HostState:
    return replace(state, ledger=Ledger(claims=claims, foreign=state.ledger.foreign), revision=state.revision + changes)


def retiring(state: HostState) -> CpuSet:
    """The pCPUs that live claims hold but that are no longer in the dedicated pool."""
    return CpuSet.union(one.fit.taken for one in state.ledger.claims) - state.pools.dedicated


def roles(state: HostState) -> dict[int, PcpuRole]:
    """The role of each pCPU of dedicated ∪ retiring, ascending by pCPU.

    A pCPU with two owners (see `conflicts`) is listed once: a claim wins over something foreign, and the lowest guest id wins.
    """
    leaving = retiring(state)
    owned: dict[int, PcpuRole] = {}
    for foreign in reversed(state.ledger.foreign):
        for pcpu in foreign.cpus:
            owned[pcpu] = PcpuRole(pcpu=pcpu, role=Role.FOREIGN, retiring=pcpu in leaving, guest=foreign.name)
    for one in reversed(state.ledger.claims):
        for pcpu, role, vcpu in holds(one.fit):
            owned[pcpu] = PcpuRole(pcpu=pcpu, role=role, retiring=pcpu in leaving, guest=one.guest, vcpu=vcpu)
    return {pcpu: owned.get(pcpu) or PcpuRole(pcpu=pcpu, role=Role.FREE) for pcpu in state.pools.dedicated | leaving}


def conflicts(state: HostState) -> CpuSet:
    """The pCPUs that two claims hold, or a claim and something foreign. Only a ledger read back from a faulty host has any."""
    once = twice = 0
    for one in state.ledger.claims:
        twice |= once & one.fit.taken.mask
        once |= one.fit.taken.mask
    for foreign in state.ledger.foreign:
        twice |= once & foreign.cpus.mask
    return CpuSet.from_mask(twice)
