"""Numbers in sentences: with a noun in singular or plural, and amounts of memory in their usual unit."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """The number and its noun, such as `2 pCPUs`. The plural adds an s to the last word.

    >>> count(1, "pCPU"), count(2, "pCPU"), count(0, "free dedicated pCPU"), count(1200, "page")
    ('1 pCPU', '2 pCPUs', '0 free dedicated pCPUs', '1,200 pages')
    """
    return f"{number:,} {_agreeing(number, noun)}"


def pcpus(cpulist: str) -> str:
    """The pCPUs of a cpulist with their noun, for sentences.

    >>> pcpus("4"), pcpus("4-5"), pcpus("4,6")
    ('pCPU 4', 'pCPUs 4-5', 'pCPUs 4,6')
    """
    return f"pCPU {cpulist}" if cpulist.isdigit() else f"pCPUs {cpulist}"


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """Words as a sentence lists them.

    >>> listed(("drift",)), listed(("a", "b", "c")), listed(("kvm", "qemu"), "or")
    ('drift', 'a, b and c', 'kvm or qemu')
    """
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _agreeing(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


class Count(int):
    """A number that takes its noun from a format string. It has no thousands separators, like the other numbers in such sentences.

    >>> "{left:free pCPU}, {left} needed".format(left=Count(1)), f"{Count(1200):page}"
    ('1 free pCPU, 1 needed', '1200 pages')
    """

    def __format__(self, noun: str) -> str:
        return f"{int(self)} {_agreeing(self, noun)}" if noun else str(int(self))


def mib(amount: int) -> str:
    """An amount of memory in the largest unit that keeps it whole.

    >>> mib(512), mib(2048), mib(2500)
    ('512 MiB', '2 GiB', '2,500 MiB')
    """
    return f"{amount // 1024:,} GiB" if amount and amount % 1024 == 0 else f"{amount:,} MiB"


def page_words(size_kib: int) -> str:
    """A page size in its usual unit.

    >>> page_words(4), page_words(2048), page_words(1048576)
    ('4 KiB', '2 MiB', '1 GiB')
    """
    if size_kib % 1024:
        return f"{size_kib} KiB"
    return mib(size_kib // 1024)
