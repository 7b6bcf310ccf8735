"""Why a request does not fit a host: a closed set of codes, each with the amounts needed and available.

The engine, the scheduler, the API and the command line all report these reasons, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct, structs

from pinfold.core.plural import Count


class Kind(Enum):
    """Whether the request may fit later."""

    INSUFFICIENT = "insufficient"
    """The host can take the request after enough releases, or when its offline pCPUs are back."""
    INFEASIBLE = "infeasible"
    """This host never takes the request, even when it is empty."""


class ReasonCode(Enum):
    """What the host lacks. The values are stable: API, CLI and reference use them as codes."""

    NO_DEDICATED_POOL = "no-dedicated-pool"
    NO_SHARED_POOL = "no-shared-pool"
    NO_OVERHEAD_POOL = "no-overhead-pool"
    OVERHEAD_POOL_OFFLINE = "overhead-pool-offline"
    OVERHEAD_BOOKED = "overhead-booked"
    OVERHEAD_CELL_BOOKED = "overhead-cell-booked"
    TOO_FEW_CELLS = "too-few-cells"
    DEDICATED_PCPUS = "dedicated-pcpus"
    EMULATOR_PCPU = "emulator-pcpu"
    THREAD_SIBLINGS = "thread-siblings"
    WHOLE_CORES = "whole-cores"
    SHARED_PCPUS = "shared-pcpus"
    SHARED_CAPACITY = "shared-capacity"
    MEMORY = "memory"
    PAGES = "pages"
    PAGE_SIZE = "page-size"
    GUEST_CELL = "guest-cell"
    CELL_COMBINATION = "cell-combination"
    MISSING_TRAIT = "missing-trait"
    FORBIDDEN_TRAIT = "forbidden-trait"
    MISSING_NETWORK = "missing-network"
    MISSING_FEATURE = "missing-feature"
    PROCESSOR = "processor"
    AGGREGATE = "aggregate"
    AGGREGATE_METADATA = "aggregate-metadata"
    DISK = "disk"
    HOST_DOWN = "host-down"
    HOST_DISABLED = "host-disabled"
    PLACEMENT = "placement"
    STALE = "stale"


class Reason(Struct, frozen=True):  # not kw_only: the engine gives the fields by position, because six keywords take twice as long
    """One thing that one host, or one of its cells, lacks.

    `cell` is the host cell's id, or None for the host as a whole. `needed` and `available` are in the code's unit (pCPUs, vCPUs, MiB,
    pages, millicpu, cells); both are 0 for codes that count nothing. `detail` names the trait, the page size in KiB or similar that
    the code leaves open.
    """

    code: ReasonCode
    kind: Kind
    cell: int | None = None
    needed: int = 0
    available: int = 0
    detail: str = ""

    def sentence(self) -> str:
        """The reason as an operator reads it, without the host's name and without a full stop.

        >>> Reason(code=ReasonCode.DEDICATED_PCPUS, kind=Kind.INSUFFICIENT, cell=1, needed=8, available=7).sentence()
        'cell 1 has 7 free dedicated pCPUs, 8 needed'
        >>> Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=Kind.INSUFFICIENT, needed=90, available=40).sentence()
        'overhead pool has 40 of 90 millicpu free'
        """
        where = "the host" if self.cell is None else f"cell {self.cell}"
        return _SENTENCES[self.code].format(
            where=where,
            needed=Count(self.needed),
            available=Count(self.available),
            detail=self.detail,
            ever=_EVER[self.kind],
            ever_dedicated=_EVER_DEDICATED[self.kind],
            even=_EVEN[self.kind],
        )


class WrittenReason(Reason, frozen=True, kw_only=True, rename={"rendered": "sentence"}):
    """A reason in its JSON form, which has its sentence too. Reading ignores that."""

    rendered: str


def written_reasons(reasons: Iterable[Reason]) -> tuple[WrittenReason, ...]:
    """The reasons as they are written."""
    return tuple(WrittenReason(**(structs.asdict(reason) | {"rendered": reason.sentence()})) for reason in reasons)


_EVER = {Kind.INSUFFICIENT: "free", Kind.INFEASIBLE: "in all"}
_EVER_DEDICATED = {Kind.INSUFFICIENT: "free dedicated", Kind.INFEASIBLE: "dedicated"}
_EVEN = {Kind.INSUFFICIENT: "", Kind.INFEASIBLE: ", even empty,"}

_SENTENCES = {
    ReasonCode.NO_DEDICATED_POOL: "no dedicated pool is configured (cpu_dedicated_set), {needed:dedicated pCPU} needed",
    ReasonCode.NO_SHARED_POOL: "no shared pool is configured (cpu_shared_set), and {needed:vCPU} would float",
    ReasonCode.NO_OVERHEAD_POOL: "no overhead pool is configured (cpu_shared_set), and all vCPUs are realtime",
    ReasonCode.OVERHEAD_POOL_OFFLINE: "the overhead pool is configured, but all its pCPUs are offline",
    ReasonCode.OVERHEAD_BOOKED: "overhead pool has {available} of {needed} millicpu free",
    ReasonCode.OVERHEAD_CELL_BOOKED: "the part of the overhead pool on {where} has {available} of {needed} millicpu free",
    ReasonCode.TOO_FEW_CELLS: "the host has {available:cell}, {needed} needed",
    ReasonCode.DEDICATED_PCPUS: "{where} has {available:{ever_dedicated} pCPU}, {needed} needed",
    ReasonCode.EMULATOR_PCPU: "{where} has {available:{ever_dedicated} pCPU}, {needed} needed with one for the emulator threads",
    ReasonCode.THREAD_SIBLINGS: "{where} has {available:dedicated pCPU} {ever} on cores with two or more of them, {needed} needed",
    ReasonCode.WHOLE_CORES: "{where} has {available:whole dedicated core} {ever}, {needed} needed",
    ReasonCode.SHARED_PCPUS: "{where} has {available:shared pCPU}, {needed} needed so that the guest does not compete with itself",
    ReasonCode.SHARED_CAPACITY: "{where} has room for {available:floating vCPU}, {needed} needed",
    ReasonCode.MEMORY: "{where} has {available} MiB of small-page memory {ever}, {needed} needed",
    ReasonCode.PAGES: "{where} has {available:page} of {detail} KiB {ever}, {needed} needed",
    ReasonCode.PAGE_SIZE: "{where} has no pages of size {detail} that divide the memory",
    ReasonCode.GUEST_CELL: "no host cell{even} takes guest cell {detail}",
    ReasonCode.CELL_COMBINATION: "each guest cell fits some host cell, but only {available} of {needed} fit at once{detail}",
    ReasonCode.MISSING_TRAIT: "the host lacks the trait {detail}",
    ReasonCode.FORBIDDEN_TRAIT: "the host has the forbidden trait {detail}",
    ReasonCode.MISSING_NETWORK: "the host does not offer the network {detail}",
    ReasonCode.MISSING_FEATURE: "the host lacks {detail}",
    ReasonCode.PROCESSOR: "the configured processor cannot be had on the host: {detail}",
    ReasonCode.AGGREGATE: "the host has left the aggregates that were asked for",
    ReasonCode.AGGREGATE_METADATA: "the host is in no aggregate whose {detail}",
    ReasonCode.DISK: "the host has {available} GiB of disk {ever}, {needed} needed",
    ReasonCode.HOST_DOWN: "the host is down",
    ReasonCode.HOST_DISABLED: "the host is disabled{detail}",
    ReasonCode.PLACEMENT: "Placement refused the allocation: {detail}",
    ReasonCode.STALE: "the host changed {needed:time} while the request was tried",
}
