"""`CpuSet`: an immutable set of CPU indexes, and its text form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pinfold.core.bounds import MAX_CPU as MAX_CPU
from pinfold.core.bounds import MAX_CPU_LIST
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import quoted

_BITS: Final = MAX_CPU + 1


class CpuSet:
    """A set of CPU indexes, stored as one integer bit mask. The indexes are pCPUs unless the user of the set says vCPUs.

        Iterates in ascending order; hashable; compares by value. The text form is the Linux cpulist (`0-3,8`), see cpuset(7). Input may
    exclude CPUs with `^`.

        >>> CpuSet.parse("0-3,8,^2")
        CpuSet('0-1,3,8')
        >>> CpuSet.of(4, 5) | CpuSet.of(0), len(CpuSet.parse("0-9")), 3 in CpuSet.parse("0-9")
        (CpuSet('0,4-5'), 10, True)
    """

    __slots__ = ("_mask",)

    def __init__(self, cpus: Iterable[int] = (), mask: int = 0) -> None:
        """The set of the given indexes and of the bits of `mask` (bit n is CPU n). Raises `InvalidRequest` outside of 0 to `MAX_CPU`."""
        for cpu in cpus:
            if not 0 <= cpu <= MAX_CPU:
                raise InvalidRequest(f"CPU index {cpu} is not within 0-{MAX_CPU}")
            mask |= 1 << cpu
        if mask >> _BITS:  # -1 for a negative mask; half the price of a comparison with both ends
            raise InvalidRequest(f"a CPU mask must lie within CPUs 0-{MAX_CPU}")
        self._mask = mask

    @property
    def mask(self) -> int:
        """The set as a bit mask: bit n is CPU n."""
        return self._mask

    @classmethod
    def of(cls, *cpus: int) -> CpuSet:
        """The set of the arguments.

        >>> CpuSet.of(2, 0, 1)
        CpuSet('0-2')
        """
        return cls(cpus)

    @classmethod
    def from_mask(cls, mask: int) -> CpuSet:
        """The set whose bit mask is `mask` (bit n is CPU n).

        >>> CpuSet.from_mask(0b1011)
        CpuSet('0-1,3')
        """
        return cls((), mask)

    @classmethod
    def union(cls, sets: Iterable[CpuSet]) -> CpuSet:
        """The CPUs that are in any of the sets.

        >>> CpuSet.union([CpuSet.of(0, 1), CpuSet.of(1, 3)])
        CpuSet('0-1,3')
        """
        mask = 0
        for one in sets:
            mask |= one._mask
        return cls((), mask)

    @classmethod
    def parse(cls, text: str) -> CpuSet:
        """Parse a cpulist such as `0-3,8`. Blanks and empty items are allowed. `^n` and `^n-m` exclude CPUs, at any position in the list.

        An empty text is the empty set. Commas alone and exclusions alone are refused, because they select no CPU. These are the rules of
        Nova (`nova.virt.hardware.parse_cpu_spec`). Raises `InvalidRequest` with the wrong part.

        >>> CpuSet.parse(" 1, 4-6 ,^5 "), CpuSet.parse(""), CpuSet.parse("1,,3,")
        (CpuSet('1,4,6'), CpuSet(''), CpuSet('1,3'))
        >>> CpuSet.parse("3-1")
        Traceback (most recent call last):
        ...
        pinfold.core.errors.InvalidRequest: CPU list '3-1': '3-1' is a range that ends before it starts
        """
        if len(text) > MAX_CPU_LIST:
            raise InvalidRequest(f"a CPU list of {len(text)} characters is too long, at most {MAX_CPU_LIST} are allowed")
        include = exclude = 0
        excluding = False
        if not text.strip():
            return cls.from_mask(0)
        for part in text.split(","):
            item = part.strip()
            if not item:
                continue
            if item.startswith("^"):
                excluding = True
                exclude |= _range_mask(text, item[1:].strip(), item)
            else:
                include |= _range_mask(text, item, item)
        if not include and not excluding:
            raise InvalidRequest(f"CPU list {quoted(text)}: it names no CPU")
        if not include:
            raise InvalidRequest(f"CPU list {quoted(text)} only excludes; name the CPUs first, as in '0-7,^2'")
        return cls.from_mask(include & ~exclude)

    def __str__(self) -> str:
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ranges())

    def __repr__(self) -> str:
        return f"CpuSet('{self}')"

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The maximal runs `(first, last)` of the set, ascending.

        >>> list(CpuSet.parse("0-3,8").ranges())
        [(0, 3), (8, 8)]
        """
        mask, base = self._mask, 0
        while mask:
            skip = (mask & -mask).bit_length() - 1
            mask >>= skip
            base += skip
            run = (~mask & (mask + 1)).bit_length() - 1
            yield base, base + run - 1
            mask >>= run
            base += run

    def __iter__(self) -> Iterator[int]:
        mask = self._mask
        while mask:
            low = mask & -mask
            yield low.bit_length() - 1
            mask ^= low

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __bool__(self) -> bool:
        return self._mask != 0

    def __contains__(self, cpu: object) -> bool:
        return isinstance(cpu, int) and cpu >= 0 and bool(self._mask >> cpu & 1)

    def __eq__(self, other: object) -> bool:
        return self._mask == other._mask if isinstance(other, CpuSet) else NotImplemented

    def __hash__(self) -> int:
        return hash((CpuSet, self._mask))

    def __or__(self, other: CpuSet) -> CpuSet:
        return CpuSet((), self._mask | other._mask)

    def __and__(self, other: CpuSet) -> CpuSet:
        return CpuSet((), self._mask & other._mask)

    def __sub__(self, other: CpuSet) -> CpuSet:
        return CpuSet((), self._mask & ~other._mask)

    def __xor__(self, other: CpuSet) -> CpuSet:
        return CpuSet((), self._mask ^ other._mask)

    def __le__(self, other: CpuSet) -> bool:
        """Whether every CPU of this set is in `other`."""
        return self._mask & ~other._mask == 0

    def isdisjoint(self, other: CpuSet) -> bool:
        """Whether the two sets have no CPU in common."""
        return self._mask & other._mask == 0

    @property
    def first(self) -> int:
        """The lowest index. Raises `ValueError` on the empty set."""
        if not self._mask:
            raise ValueError("the empty set has no first CPU")
        return (self._mask & -self._mask).bit_length() - 1


def _range_mask(text: str, item: str, shown: str) -> int:
    first, dash, last = item.partition("-")
    first, last = first.strip(), (last.strip() if dash else first.strip())
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()) or max(len(first), len(last)) > 8:
        raise InvalidRequest(f"CPU list {quoted(text)}: {quoted(shown)} is neither a CPU index nor a range like 0-3")
    low, high = int(first), int(last)
    if high > MAX_CPU:
        raise InvalidRequest(f"CPU list {quoted(text)}: {quoted(shown)} is above the highest CPU index {MAX_CPU}")
    if high < low:
        raise InvalidRequest(f"CPU list {quoted(text)}: {quoted(shown)} is a range that ends before it starts")
    return (1 << (high + 1)) - (1 << low)
