"""Drift: differences between what was recorded and what the host shows. Pure; `host` reads and repairs the host."""

from pinfold.core.drift.expectation import (
    Definitions,
    ExpectedMasks,
    InferredMasks,
    PinDefinition,
    SeenThread,
    expected,
    iothread_place,
    seen_thread,
)
from pinfold.core.drift.finding import PLACE_CODES, THREAD_CODES, Finding, FindingCode, Severity, Subject
from pinfold.core.drift.guest import compare
from pinfold.core.drift.host_findings import (
    Holder,
    Owner,
    Place,
    Process,
    floating_astray,
    foreign_floating,
    foreign_process,
    outside_pools,
    place_of,
    pools_missing,
    record_unreadable,
    two_owners,
)
from pinfold.core.drift.memory import ExpectedMemory, misplaced_memory
from pinfold.core.drift.siblings import busy_siblings
from pinfold.core.drift.validity import out_of_place

__all__ = [
    "PLACE_CODES",
    "THREAD_CODES",
    "Definitions",
    "ExpectedMasks",
    "ExpectedMemory",
    "Finding",
    "FindingCode",
    "Holder",
    "InferredMasks",
    "Owner",
    "PinDefinition",
    "Place",
    "Process",
    "SeenThread",
    "Severity",
    "Subject",
    "busy_siblings",
    "compare",
    "expected",
    "floating_astray",
    "foreign_floating",
    "foreign_process",
    "iothread_place",
    "misplaced_memory",
    "out_of_place",
    "outside_pools",
    "place_of",
    "pools_missing",
    "record_unreadable",
    "seen_thread",
    "two_owners",
]
