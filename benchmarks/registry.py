"""Every subject. Those of `COMMANDS` still write their pages themselves, without raw JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.agent.page import AGENT
from benchmarks.agents.page import AGENTS
from benchmarks.consolidation.page import CONSOLIDATION
from benchmarks.density.page import DENSITY
from benchmarks.fit.page import FIT
from benchmarks.latency.page import LATENCY
from benchmarks.memory.page import MEMORY
from benchmarks.oracle.page import ORACLE
from benchmarks.overhead.page import OVERHEAD
from benchmarks.packing.page import PACKING
from benchmarks.schedule.page import SCHEDULE
from benchmarks.subject import Size, Subject
from benchmarks.watch.page import WATCH

SUBJECTS: Final[tuple[Subject, ...]] = (
    *(PACKING, DENSITY, LATENCY, OVERHEAD, CONSOLIDATION, FIT, SCHEDULE, MEMORY, AGENT, AGENTS, WATCH, ORACLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A subject that is a module with a command line. `folder` is the option that says where the page is written."""

    name: str
    module: str
    small: tuple[str, ...]
    long: tuple[str, ...] = ()

    def arguments(self, size: Size) -> tuple[str, ...] | None:
        """The options of a run of this size; None at size `check`, where even the smallest run takes too long."""
        return {Size.CHECK: None, Size.SMALL: self.small, Size.LONG: self.long}[size]


COMMANDS: Final = (Command(name="pages", module="benchmarks.pages.run", small=("--hosts=100", "--runs=3")),)
