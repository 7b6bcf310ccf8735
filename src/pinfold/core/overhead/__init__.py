"""Overhead threads: policies (`table`), the pool of a host (`pool`), what a guest books (`booking`), a guest's threads (`threads`)."""

from pinfold.core.overhead.booking import rebooked
from pinfold.core.overhead.pool import RESOURCE_CLASS, OverheadPool, booked_millicpu, capacity_millicpu, floating_pcpus, pool_of
from pinfold.core.overhead.table import PoolState, Rule, rule, rules, state_of
from pinfold.core.overhead.threads import OVERHEAD_CLASSES, Masks, ObservedThread, ThreadClass, masks, memory_cell

__all__ = [
    "OVERHEAD_CLASSES",
    "RESOURCE_CLASS",
    "Masks",
    "ObservedThread",
    "OverheadPool",
    "PoolState",
    "Rule",
    "ThreadClass",
    "booked_millicpu",
    "capacity_millicpu",
    "floating_pcpus",
    "masks",
    "memory_cell",
    "pool_of",
    "rebooked",
    "rule",
    "rules",
    "state_of",
]
