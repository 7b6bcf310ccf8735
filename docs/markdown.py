"""Tables and escapes of Markdown. The callers bring the texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, each cell on one line."""
    lines = [_row(titles), "|" + "---|" * len(titles), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """The text as code; a dash where there is none."""
    return f"`{text}`" if text else "–"


def sentence(text: str) -> str:
    """The text with a capital and a full stop. A first word that has a capital of its own keeps its form: pCPU and PCPU are two things."""
    text = " ".join(text.split())
    if not text:
        return ""
    first = text.split(" ", 1)[0]
    start = text[:1].upper() if first == first.lower() else text[:1]
    return start + text[1:] + ("" if text.endswith(".") else ".")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
