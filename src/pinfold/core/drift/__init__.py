"""Drift: what was recorded against what the host shows. Reading the host, and repairing it, do not belong here."""

from pinfold.core.drift.finding import THREAD_CODES, Finding, FindingCode, Severity, Subject
from pinfold.core.drift.guest import Asked, compare, compare_asked, expected
from pinfold.core.drift.host import (
    Holder,
    Place,
    Process,
    foreign_floating,
    foreign_process,
    outside_pools,
    place_of,
    record_unreadable,
    two_owners,
)
from pinfold.core.drift.place import out_of_place

__all__ = [
    "THREAD_CODES",
    "Asked",
    "Finding",
    "FindingCode",
    "Holder",
    "Place",
    "Process",
    "Severity",
    "Subject",
    "compare",
    "compare_asked",
    "expected",
    "foreign_floating",
    "foreign_process",
    "out_of_place",
    "outside_pools",
    "place_of",
    "record_unreadable",
    "two_owners",
]
