"""Links and citations: each names a file, and a heading, that the repository has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("docs", "src", "tests", "benchmarks", "bin", "demo")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"(?<![\w/.:}-])((?:docs|src|tests|benchmarks|bin|demo)/[\w./-]*\w)")
_DECISION = re.compile(r"(?<![\w/.-])(\d{4}-[a-z][a-z-]+[a-z])\b")
_UNNAMED = re.compile(r"\bsection \d+ of the design\b|\bthe design \(section|\bthe table of the design\b", re.IGNORECASE)


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file that may cite another, with what is written in it."""
    for path in sorted([*ROOT.glob("*"), *(found for part in PARTS for found in (ROOT / part).rglob("*"))]):
        if (
            path.is_file()
            and path.suffix in (".md", ".py", ".sh", ".toml", "")
            and "__pycache__" not in path.parts
            and path != Path(__file__)
        ):
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def pages() -> list[Path]:
    return [path for path, _ in texts() if path.suffix == ".md"]


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of the file."""
    dead = []
    for link in _LINK.findall(re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    return dead


def missing_citations(text: str) -> list[str]:
    """What a text cites by its path from the root, or as a decision by number and title, and the repository lacks."""
    paths = [cited for cited in _CITED.findall(text) if not (ROOT / cited).exists() and not (ROOT / f"{cited}.py").exists()]
    decisions = [cited for cited in _DECISION.findall(text) if not (ROOT / "docs" / "design" / f"{cited}.md").exists()]
    return paths + decisions + _UNNAMED.findall(text)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert dead_links(page) == []


def test_every_cited_file_is_in_the_repository() -> None:
    missing = {str(path.relative_to(ROOT)): found for path, text in texts() if (found := missing_citations(text))}
    assert missing == {}


def test_a_dead_link_and_a_missing_file_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One page\n[a](page.md#one-page) [b](gone.md) [c](#two) [d](https://example.org/x)\n```\n[e](gone.md)\n```\n", encoding="utf-8"
    )
    assert dead_links(page) == ["gone.md", "#two"]
    text = "see docs/README.md, docs/gone.md, 0001-what-fits, 0001-what-fitted, and section 7 of the design"
    assert missing_citations(text) == ["docs/gone.md", "0001-what-fitted", "section 7 of the design"]


def test_every_page_is_linked_from_the_table_of_contents() -> None:
    contents = ROOT / "docs" / "README.md"
    linked = {(contents.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(contents.read_text(encoding="utf-8"))}
    folders = ("tutorial", "how-to", "reference", "explanation")
    written = {page.resolve() for folder in folders for page in (ROOT / "docs" / folder).glob("*.md")}
    assert sorted(str(page.relative_to(ROOT)) for page in written - linked) == []


def test_every_decision_has_a_number_of_its_own() -> None:
    names = sorted(page.name for page in (ROOT / "docs" / "design").glob("*.md"))
    assert [name[:4] for name in names] == sorted({name[:4] for name in names})
    assert [name for name in names if not (ROOT / "docs" / "design" / name).read_text(encoding="utf-8").startswith(f"# {name[:4]}: ")] == []
