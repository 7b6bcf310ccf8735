"""Every subject. Those of `COMMANDS` still write their pages themselves, without raw JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.agent.page import AGENT
from benchmarks.consolidation.page import CONSOLIDATION
from benchmarks.density.page import DENSITY
from benchmarks.fit.page import FIT
from benchmarks.latency.page import LATENCY
from benchmarks.memory.page import MEMORY
from benchmarks.oracle.page import ORACLE
from benchmarks.overhead.page import OVERHEAD
from benchmarks.packing.page import PACKING
from benchmarks.subject import Size, Subject
from benchmarks.watch.page import WATCH

SUBJECTS: Final[tuple[Subject, ...]] = (PACKING, DENSITY, LATENCY, OVERHEAD, CONSOLIDATION, FIT, MEMORY, AGENT, WATCH, ORACLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A subject that is a module with a command line. `folder` is the option that says where the page is written."""

    name: str
    module: str
    small: tuple[str, ...]
    long: tuple[str, ...] = ()
    check: tuple[str, ...] | None = None
    """None where even the smallest run takes too long for continuous integration."""
    report: bool = False
    """Whether the option is `--report`, a file, in place of `--folder`."""

    def arguments(self, size: Size) -> tuple[str, ...] | None:
        """The options of a run of this size."""
        return {Size.CHECK: self.check, Size.SMALL: self.small, Size.LONG: self.long}[size]


COMMANDS: Final = (
    Command(
        name="schedule",
        module="benchmarks.schedule.run",
        small=("--rounds=60", "--creates=40"),
        check=("--rounds=3", "--creates=0", "--hosts", "20"),
    ),
    Command(name="pages", module="benchmarks.pages.run", small=("--hosts=100", "--runs=3")),
)
