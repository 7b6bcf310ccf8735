"""A number with its noun, wherever a sentence counts something. Other words do not belong here."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it takes one; the last word of the noun takes the s.

    >>> count(1, "pCPU"), count(2, "pCPU"), count(0, "free dedicated pCPU"), count(1200, "page")
    ('1 pCPU', '2 pCPUs', '0 free dedicated pCPUs', '1,200 pages')
    """
    return f"{number:,} {_agreeing(number, noun)}"


def _agreeing(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


class Count(int):
    """A number that a format string may give a noun; for sentences with other numbers in them, so without separators.

    >>> "{left:free pCPU}, {left} needed".format(left=Count(1)), f"{Count(1200):page}"
    ('1 free pCPU, 1 needed', '1200 pages')
    """

    def __format__(self, noun: str) -> str:
        return f"{int(self)} {_agreeing(self, noun)}" if noun else str(int(self))
