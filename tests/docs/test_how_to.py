"""What the hand-written pages tell a reader to type or to look for exists: commands, options, metrics, findings, reasons."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from docs.command_tree import tree

from pinfold.api.metrics import METRICS, PROCESS_METRICS
from pinfold.config.options import GROUPS
from pinfold.core.drift.finding import FindingCode
from pinfold.core.reasons import ReasonCode
from pinfold.watch.metrics import METRICS as OF_WATCH

DOCS = Path(__file__).parents[2] / "docs"
_PARTS = ("tutorial", "how-to", "explanation")
PAGES = [DOCS.parent / "README.md", *(page for part in _PARTS for page in sorted((DOCS / part).glob("*.md")))]
_COMMANDS = {tuple(path.split()): command for path, command in tree()}
_METRIC = re.compile(r"\bpinfold_[a-z_]+\b(?!-)")
_IN_BLOCK = re.compile(r"(?:^(?:\$ )?|; |&& |\()(?:/opt/pinfold/\.venv/bin/)?pinfold ([a-z][^)\n]*)", re.MULTILINE)
_PRINTED = ("is up at",)
"""How lines begin that pinfold prints and nobody types."""
_SYMPTOMS = DOCS / "how-to" / "find-the-cause.md"


def typed(text: str) -> list[list[str]]:
    """Every `pinfold …` that a page shows in a block or between backticks, as words; a shell's operators end it."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    shown = [words for block in blocks for words in _IN_BLOCK.findall(block.replace("\\\n", " "))]
    return [_words(one) for one in (*shown, *re.findall(r"`pinfold ([a-z][^`]*)`", prose)) if not one.startswith(_PRINTED)]


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(re.split(r"[|;>&#]", text)[0].strip(), posix=True)
    lexer.whitespace_split = True
    return list(lexer)


def unknown(words: list[str]) -> str:
    """What of a typed command does not exist: the command, or one of its options; '' where all of it does."""
    command = next((_COMMANDS[tuple(words[:length])] for length in (2, 1) if tuple(words[:length]) in _COMMANDS), None)
    if command is None:
        return "" if any(path[0] == words[0] for path in _COMMANDS) and len(words) == 1 else f"pinfold {' '.join(words[:2])}"
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    missing = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options]
    return f"pinfold {' '.join(words[:2])} {missing[0]}" if missing else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    assert [found for words in typed(page.read_text(encoding="utf-8")) if (found := unknown(words))] == []


def test_a_wrong_command_and_a_wrong_option_are_noticed() -> None:
    shown = typed("```\n$ pinfold guest starts web\n```\nsee `pinfold audit --jsn`, `pinfold guest start web --flavor x`, pinfold itself\n")
    assert [found for words in shown if (found := unknown(words))] == ["pinfold guest starts", "pinfold audit --jsn --jsn"]


def test_every_metric_that_a_page_names_exists() -> None:
    known = {*METRICS, *PROCESS_METRICS, *OF_WATCH, *(group.name for group in GROUPS)}
    named = {name for page in PAGES for name in _METRIC.findall(page.read_text(encoding="utf-8"))}
    assert named - known == set()


@pytest.mark.parametrize("codes", [FindingCode, ReasonCode], ids=["findings", "reasons"])
def test_every_code_has_a_line_in_the_table_of_symptoms(codes: type[FindingCode] | type[ReasonCode]) -> None:
    text = _SYMPTOMS.read_text(encoding="utf-8")
    assert [code.value for code in codes if f"`{code.value}`" not in text] == []


@pytest.mark.parametrize("shared", [False, True], ids=["a pool apart", "the shared pool"])
def test_the_example_of_the_overhead_pool_is_what_fit_says(tmp_path: Path, shared: bool) -> None:
    page = (DOCS / "how-to" / "size-the-overhead-pool.md").read_text(encoding="utf-8")
    block = next(found for found in re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "--host-text" in found)
    instead = re.search(r"With `(.+?)` in place of `(.+?)` the pool is the\s+shared one", page)
    assert instead is not None
    pinfold = f"{sys.executable} -m pinfold"
    typed = (block.replace(instead[2], instead[1]) if shared else block).replace("pinfold fit", f"{pinfold} fit")
    environment = os.environ | {"PINFOLD_CONFIG": os.devnull}
    done = subprocess.run(["bash", "-euc", typed], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = re.search(r"`(overhead booked .+? in all)`", page)
    assert expected is not None
    assert expected[1] in done.stdout
