"""`repin`: which guests to move to other pCPUs of their own host cells, step by step, and what is gained by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.capacity import FlavorDemand
from pinfold.core.fit.count import Counts, count_host
from pinfold.core.fit.slots import free_slots
from pinfold.core.host import HostState
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role, amend, release
from pinfold.core.repin.fits import repinned
from pinfold.core.repin.join import Join, joins
from pinfold.core.repin.retire import retiring_of, vacated
from pinfold.core.request.model import GuestRequest, ThreadPolicy


class PcpuMove(Struct, frozen=True, kw_only=True):
    """One vCPU, an isolated emulator (`role` EMULATOR), or the idle siblings, from these pCPUs to those."""

    role: Role
    vcpu: int | None = None
    before: CpuSet = field(name="from")
    after: CpuSet = field(name="to")


class Step(Struct, frozen=True, kw_only=True):
    """One guest moved: its fit before and after. The steps before it have been carried out."""

    guest: GuestId
    before: Fit
    after: Fit

    @property
    def moves(self) -> tuple[PcpuMove, ...]:
        """What moves: the vCPUs ascending, the isolated emulator, the idle siblings."""
        pairs = zip(self.before.pins, self.after.pins, strict=True)
        found = [_move(Role.VCPU, CpuSet.of(old), CpuSet.of(new), vcpu) for (vcpu, old), (_, new) in pairs if old != new]
        if self.before.emulator_pcpu != self.after.emulator_pcpu:
            found.append(_move(Role.EMULATOR, self.before.emulator, self.after.emulator))
        if self.before.idle_siblings != self.after.idle_siblings:
            found.append(_move(Role.IDLE_SIBLING, self.before.idle_siblings, self.after.idle_siblings))
        return tuple(found)


class SlotChange(Struct, frozen=True, kw_only=True):
    """How many guests of a flavor fit before and after."""

    flavor: str
    vcpus: int
    before: int
    after: int


class SizeChange(Struct, frozen=True, kw_only=True):
    """The most vCPUs of a guest of one cell with this thread policy, before and after; by free pCPUs alone."""

    threads: ThreadPolicy
    before: int
    after: int


class Remainder(Struct, frozen=True, kw_only=True):
    """The retiring pCPUs that a guest keeps."""

    guest: GuestId
    pcpus: CpuSet


class Repin(Struct, frozen=True, kw_only=True):
    """The steps, in their order; the retiring pCPUs that they free and those that stay; what fits before and after.

    `slots` has every flavor that was asked about. `sizes` takes their place if none was.
    """

    steps: tuple[Step, ...] = ()
    freed: CpuSet = CpuSet()
    stays: tuple[Remainder, ...] = ()
    slots: tuple[SlotChange, ...] = ()
    sizes: tuple[SizeChange, ...] = ()


def repin(state: HostState, requests: Mapping[GuestId, GuestRequest], flavors: Sequence[FlavorDemand] = ()) -> Repin:
    """The plan for a host. Only guests of `requests` are moved, each within its host cells, because memory does not follow. Pure.

    1. Guest by guest, in the order of their ids, move what is on retiring pCPUs to free dedicated ones (`retire`).
    2. Join free siblings (`join`), and do 1 again with what was joined.
    3. Leave out each join, the last one first, without which as many pCPUs are freed and as many guests of each flavor fit. Without
       flavors, the largest guests of thread policies `isolate` and `require` count instead.

    Each step is valid after those before it: it takes only pCPUs that are free then, and keeps the guest's thread policy.
    """
    first = count_host(state)
    leaving = _Walk(first, requests)
    leaving.vacate()
    found = joins(leaving.counts, requests)
    kept = list(found)
    walk = _walked(first, requests, kept)
    best = _score(walk.counts, flavors)
    for join in reversed(found):
        fewer = [one for one in kept if one is not join]
        shorter = _walked(first, requests, fewer)
        score = _score(shorter.counts, flavors)
        if all(now >= then for now, then in zip(score, best, strict=True)):
            kept, walk, best = fewer, shorter, score
    last = walk.counts
    return Repin(
        steps=tuple(walk.steps),
        freed=_retiring(first) - _retiring(last),
        stays=tuple(
            Remainder(guest=claim.guest, pcpus=left) for claim in last.state.ledger.claims if (left := retiring_of(claim.fit, last))
        ),
        slots=tuple(
            SlotChange(flavor=name, vcpus=demand.request.vcpus, before=free_slots(demand, first), after=free_slots(demand, last))
            for name, demand in flavors
        ),
        sizes=() if flavors else _sizes(first, last),
    )


class _Walk:
    """The steps so far, and the counts after them."""

    def __init__(self, counts: Counts, requests: Mapping[GuestId, GuestRequest]) -> None:
        self.counts = counts
        self.requests = requests
        self.steps: list[Step] = []

    def vacate(self) -> None:
        """Move every guest off its retiring pCPUs, as far as it goes."""
        for claim in self.counts.state.ledger.claims:
            if claim.guest in self.requests:
                self._step(claim.guest, claim.fit, vacated(claim.fit, self.requests[claim.guest], self.counts))

    def join(self, join: Join) -> None:
        """Empty a core."""
        online = self.counts.state.topology.online
        for guest, pairs in join.exchanges:
            fit = next(claim.fit for claim in self.counts.state.ledger.claims if claim.guest == guest)
            self._step(guest, fit, repinned(fit, dict(pairs), fit.idle_siblings, online))

    def _step(self, guest: GuestId, before: Fit, after: Fit) -> None:
        if after == before:
            return
        first = self.steps.pop().before if self.steps and self.steps[-1].guest == guest else before
        if first != after:
            self.steps.append(Step(guest=guest, before=first, after=after))
        state = self.counts.state
        claim = next(claim.id for claim in state.ledger.claims if claim.guest == guest and claim.fit == before)
        without = self.counts.after(before, release(state, guest, claim), taken=False)
        self.counts = without.after(after, amend(state, guest, after, claim), taken=True)


def _walked(counts: Counts, requests: Mapping[GuestId, GuestRequest], chosen: Iterable[Join]) -> _Walk:
    walk = _Walk(counts, requests)
    walk.vacate()
    for join in chosen:
        walk.join(join)
    walk.vacate()
    return walk


def _score(counts: Counts, flavors: Sequence[FlavorDemand]) -> tuple[int, ...]:
    """What is better the higher each number is."""
    fits = [free_slots(demand, counts) for _, demand in flavors] if flavors else [_largest(counts, policy) for policy in _SHAPED]
    return (-len(_retiring(counts)), *fits)


_SHAPED = (ThreadPolicy.ISOLATE, ThreadPolicy.REQUIRE)
"""The thread policies for which it matters how free pCPUs lie."""


def _largest(counts: Counts, policy: ThreadPolicy) -> int:
    """The most vCPUs that one host cell has pCPUs for."""
    return max((cell.shape.n_wholes if policy is ThreadPolicy.ISOLATE else cell.shape.n_paired for cell in counts.cells), default=0)


def _sizes(first: Counts, last: Counts) -> tuple[SizeChange, ...]:
    return tuple(SizeChange(threads=policy, before=_largest(first, policy), after=_largest(last, policy)) for policy in _SHAPED)


def _retiring(counts: Counts) -> CpuSet:
    return CpuSet.union(retiring_of(claim.fit, counts) for claim in counts.state.ledger.claims)


def _move(role: Role, before: CpuSet, after: CpuSet, vcpu: int | None = None) -> PcpuMove:
    return PcpuMove(role=role, vcpu=vcpu, before=before, after=after)
