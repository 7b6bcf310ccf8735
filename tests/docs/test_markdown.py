"""Sentences and tables of Markdown."""

from __future__ import annotations

import pytest
from docs.markdown import sentence, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pCPUs of the dedicated pool", "pCPUs of the dedicated pool."),
        ("vCPU 0 runs alone.", "vCPU 0 runs alone."),
        ("the pCPUs that are free", "The pCPUs that are free."),
        ("Nova's\n  name", "Nova's name."),
        ("`share` needs a pool", "`share` needs a pool."),
        ("", ""),
    ],
    ids=["pCPU stays", "vCPU stays", "a word that is all small gets a capital", "one line", "code stays", "nothing"],
)
def test_a_sentence_starts_with_a_capital_but_keeps_words_that_have_their_own(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_a_cell_stays_on_one_line_and_its_bars_are_escaped() -> None:
    assert table(("a", "b"), [("x\n y", "kvm|qemu")]) == "| a | b |\n|---|---|\n| x y | kvm\\|qemu |\n"
