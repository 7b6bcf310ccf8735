"""Every subject."""

from __future__ import annotations

from typing import Final

from benchmarks.agent.page import AGENT
from benchmarks.agents.page import AGENTS
from benchmarks.consolidation.page import CONSOLIDATION
from benchmarks.density.page import DENSITY
from benchmarks.fit.page import FIT
from benchmarks.latency.page import LATENCY
from benchmarks.memory.page import MEMORY
from benchmarks.oracle.page import ORACLE
from benchmarks.outage.page import OUTAGE
from benchmarks.overhead.page import OVERHEAD
from benchmarks.packing.page import PACKING
from benchmarks.pages.page import PAGES
from benchmarks.schedule.page import SCHEDULE
from benchmarks.subject import Subject
from benchmarks.watch.page import WATCH

SUBJECTS: Final[tuple[Subject, ...]] = (
    *(PACKING, DENSITY, LATENCY, OVERHEAD, CONSOLIDATION, FIT, SCHEDULE, MEMORY, AGENT, AGENTS, OUTAGE, WATCH, PAGES, ORACLE),
)
