"""The form of every benchmark's page: budgets with their verdicts, the machine, then tables. What is measured does not belong here."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One bound that a benchmark must keep, and what was measured; `least` says that more is better.

    It is judged at size `check` too if it is `exact`: true of each case, however few there are and however long they take.
    """

    what: str
    measured: float
    bound: float
    unit: str = ""
    least: bool = False
    exact: bool = False

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def sentence(self) -> str:
        """The verdict in one line.

        >>> Budget(what="agent", measured=81.25, bound=80, unit="MiB").sentence()
        'agent: 81.2 MiB, at most 80 MiB: MISSED'
        """
        side, unit = "at least" if self.least else "at most", f" {self.unit}" if self.unit else ""
        return f"{self.what}: {figure(self.measured)}{unit}, {side} {figure(self.bound)}{unit}: {'kept' if self.kept else 'MISSED'}"


def figure(value: float) -> str:
    """A number with the digits that matter: three, and all of a whole number's.

    >>> [figure(value) for value in (0.4449, 81.25, 1491.3, 300, 1)]
    ['0.445', '81.2', '1,491', '300', '1']
    """
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table; numbers by `figure`, None as an empty cell."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def machine() -> str:
    """The processor, the kernel, the interpreter and how busy the machine is: to be asked before a measurement begins."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    virtual = any(line.startswith("flags") and "hypervisor" in line.split() for line in lines)
    memory = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) >> 20
    return (
        f"{model}, {os.cpu_count()} processors, {memory} GiB{', a virtual machine' if virtual else ''}; "
        f"{platform.system()} {platform.release()}, {platform.python_implementation()} {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f} in the minute before."
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return figure(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
