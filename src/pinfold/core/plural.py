"""`count`: a number with its noun, wherever a sentence counts something. Other words do not belong here."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it takes one; the last word of the noun takes the s.

    >>> count(1, "pCPU"), count(2, "pCPU"), count(0, "free dedicated pCPU"), count(1200, "page")
    ('1 pCPU', '2 pCPUs', '0 free dedicated pCPUs', '1,200 pages')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
