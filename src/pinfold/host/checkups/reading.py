"""Turn files of the kernel's into values and facts, and say which of them cannot be seen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import shortened
from pinfold.drivers.checkup import Check, Checkup, Health, Seen
from pinfold.linux.kernel_file import KernelFile

_SHOWN: Final = 100
"""The characters of a file that are shown."""

Value = TypeVar("Value")


def value(file: KernelFile, parse: Callable[[str], Value]) -> Value | None:
    """The parsed text of a file; None if it cannot be seen or understood.

    >>> [value(KernelFile(path="/a", text=text), int) for text in ("7", "x", "")]
    [7, None, None]
    """
    if file.problem:
        return None
    try:
        return parse(file.text)
    except (InvalidRequest, ValueError):
        return None


def cpus(text: str) -> CpuSet:
    """The pCPUs that a file of the kernel's names. Some kernels write `(null)` for none."""
    return CpuSet() if text == "(null)" else CpuSet.parse(text)


def fact(file: KernelFile) -> Seen:
    """A file as a fact: its text, or why it cannot be seen."""
    text = shortened(file.text, _SHOWN)
    return Seen(source=file.path, value=file.problem or text or "empty")


def unseen(check: Check, health: Health, files: Iterable[KernelFile], words: str, advice: str = "") -> Checkup:
    """The checkup of something that cannot be seen. `words` says what that means for the host."""
    facts = tuple(map(fact, files))
    return check.found(health, f"cannot be seen: {facts[0].source} ({facts[0].value}); {words}", seen=facts, advice=advice)


def loop(numbers: Iterable[int]) -> str:
    """The numbers, ascending, as the words of a shell's `for`.

    >>> loop([0, 2, 3, 4, 5]), loop([7, 8])
    ('0 $(seq 2 5)', '$(seq 7 8)')
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(first) if first == last else f"$(seq {first} {last})" for first, last in runs)
