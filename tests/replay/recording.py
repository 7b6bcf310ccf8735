"""Recorded answers as files, and the comparison of two sets of answers. What an answer means does not matter here.

A family is a set of answers: case -> JSON value. Its file has one line a case, `{"case": …, "answer": …}`, compressed with xz.
"""

from __future__ import annotations

import difflib
import json
import lzma
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("recorded")
SHOWN = 5
"""So many cases that differ are shown in full; of the others only the names."""

Answers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference that is allowed: in the cases of a family whose names match the pattern `cases`.

    `undo` gets today's answer (a JSON value that it may change) and returns what the recorded code answered.
    """

    family: str
    reason: str
    undo: Callable[[Any], Any]
    cases: str = "*"


def compare(family: str, recorded: Mapping[str, Any], today: Mapping[str, Any], allowed: Iterable[Difference]) -> list[str]:
    """What is different and not allowed: a text for each of the first cases, then the names of the others, then unused differences."""
    mine = [difference for difference in allowed if difference.family == family]
    used: set[int] = set()
    wrong: list[tuple[str, str]] = []
    for case in (*recorded, *(case for case in today if case not in recorded)):
        if case not in today or case not in recorded:
            wrong.append((case, f"{family} {case}: {'today lacks it' if case in recorded else 'it is new; record again'}"))
            continue
        answer = today[case]
        if answer == recorded[case]:
            continue
        for number, difference in enumerate(mine):
            if fnmatchcase(case, difference.cases):
                before = dumped(answer)
                answer = difference.undo(json.loads(before))
                if dumped(answer) != before:
                    used.add(number)
        if answer != recorded[case]:
            wrong.append((case, f"{family} {case}:\n{_diff(recorded[case], answer)}"))
    texts = [text for _, text in wrong[:SHOWN]]
    if wrong[SHOWN:]:
        texts.append(f"{family}: {len(wrong)} cases differ, these too: {' '.join(case for case, _ in wrong[SHOWN : SHOWN + 40])}")
    texts += [f"{family}: this allowed difference is not there: {one.reason}" for n, one in enumerate(mine) if n not in used]
    return texts


def read_text(name: str) -> str:
    """A recorded file's text."""
    return lzma.decompress((RECORDED / f"{name}.xz").read_bytes()).decode()


def write_text(name: str, text: str) -> None:
    """Write a recorded file."""
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def read_answers(family: str) -> Answers:
    """The recorded answers of a family."""
    lines = (json.loads(line) for line in read_text(f"{family}.jsonl").splitlines())
    return {line["case"]: line["answer"] for line in lines}


def write_answers(family: str, answers: Mapping[str, Any]) -> None:
    """Record a family."""
    write_text(f"{family}.jsonl", "".join(dumped({"case": case, "answer": answer}) + "\n" for case, answer in answers.items()))


def dumped(value: object) -> str:
    """JSON text on one line; the order of keys is kept, since people read documents in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def inside(value: Any, change: Callable[[Any], Any]) -> Any:
    """The JSON value with `change` made of each item of a list, or of each value of an object."""
    if isinstance(value, list):
        return [change(one) for one in value]
    return {key: change(one) for key, one in value.items()} if isinstance(value, dict) else value


class Names:
    """Puts lasting names in place of what is new in every run: known texts by their names; ids, tokens, digests and times by what they are.

    An id that nobody names is `<id>`, without a number: one id more in an answer shall not change the answers after it.
    """

    _REST = (
        (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), "<id>"),
        (re.compile(r"(<[^>]*>)\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), r"<token of \1>"),
        (re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), "<digest>"),
        (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?"), "<time>"),
        (re.compile(r"\br-[0-9a-f]{8}\b"), "<reservation>"),
    )

    def __init__(self, known: Mapping[str, str]) -> None:
        """`known` are texts that are other ones in another run, each with its name: a temporary folder, the id of a server."""
        self._known = known

    def __call__(self, value: Any) -> Any:
        """The value with names in it."""
        match value:
            case dict():
                return {self(key): self(item) for key, item in value.items()}
            case list():
                return [self(item) for item in value]
            case float() if value > 1e9:
                return "<time>"
            case str():
                return self._text(value)
        return value

    def _text(self, text: str) -> str:
        for known, name in self._known.items():
            text = text.replace(known, name)
        for pattern, name in self._REST:
            text = pattern.sub(name, text)
        return text


def _diff(recorded: object, today: object) -> str:
    return "\n".join(difflib.unified_diff(_lines(recorded), _lines(today), "recorded", "today", n=3, lineterm=""))


def _lines(value: object) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    return text.splitlines()
