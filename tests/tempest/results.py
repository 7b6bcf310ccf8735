"""The results of a run of tempest: single tests, skipped and failed classes expanded, with the reason of each that did not pass. Pure.

`results.txt` has a line for each test: its status, its name, and what was observed. `reasons.toml` says in a sentence why each kind of
observation is as it is. `whitebox.txt` and `whitebox-reasons.toml` are the same for whitebox-tempest-plugin.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VERSION: Final = "47.0.0"
WHITEBOX_VERSION: Final = "0.1.0"
STATUS: Final = {"success": "passed", "fail": "failed", "skip": "skipped"}
_CLASS: Final = re.compile(r"^(?:setUp|tearDown)Class \((.+)\)$")
_REFUSED: Final = re.compile(r"NotImplemented: .*?Details: (?:[A-Z]+ /\S+ is not supported\. )?(.+)$")


@dataclass(frozen=True, slots=True)
class Result:
    """One test: `passed`, `failed` or `skipped`, and what was observed unless it passed."""

    test: str
    status: str
    observed: str = ""

    @property
    def area(self) -> str:
        """The API that it tests: compute, image or network."""
        return next(area for area in ("compute", "image", "network") if f".api.{area}." in self.test)


def expanded(listed: Iterable[str], seen: Iterable[tuple[str, str, str]]) -> tuple[Result, ...]:
    """A result for each listed test, by name. One without a result has that of its class. Raises `KeyError` if there is none.

    >>> expanded(["m.C.test_a[id-1]", "m.D.test_b"], [("m.C.test_a[id-1]", "success", ""), ("setUpClass (m.D)", "skip", "No X.")])[1]
    Result(test='m.D.test_b', status='skipped', observed='No X.')
    """
    own: dict[str, tuple[str, str]] = {}
    of_class: dict[str, tuple[str, str]] = {}
    for name, status, observed in seen:
        found = _CLASS.match(name)
        if found:
            of_class[found[1]] = (STATUS[status], observed)
        else:
            own[bare(name)] = (STATUS[status], observed)
    results = []
    for test in sorted({bare(name) for name in listed}):
        status, observed = own.get(test) or of_class[test.rpartition(".")[0]]
        results.append(Result(test, status, "" if status == "passed" else observed))
    return tuple(results)


def bare(name: str) -> str:
    """A test's name without the tags in brackets."""
    return name.partition("[")[0]


def written(results: Iterable[Result]) -> str:
    """The text of `results.txt`."""
    return "".join(f"{result.status} {result.test} {result.observed}".rstrip() + "\n" for result in results)


def read(text: str) -> tuple[Result, ...]:
    """The results in the text of `results.txt`."""
    return tuple(Result(test, status, observed) for status, test, observed in (_fields(line) for line in text.splitlines()))


def _fields(line: str) -> tuple[str, str, str]:
    status, _, rest = line.partition(" ")
    test, _, observed = rest.partition(" ")
    return status, test, observed


@dataclass(frozen=True, slots=True)
class Kept:
    """The files of a committed run: its results, and the reasons of those that did not pass."""

    results: str
    reasons: str

    def read(self) -> tuple[Result, ...]:
        """The results of the last run that was committed."""
        return read((HERE / self.results).read_text(encoding="utf-8"))

    def rules(self) -> dict[str, str]:
        """A reason for each text that an observation may hold."""
        found: dict[str, str] = tomllib.loads((HERE / self.reasons).read_text(encoding="utf-8"))["reasons"]
        return found


TEMPEST: Final = Kept("results.txt", "reasons.toml")
WHITEBOX: Final = Kept("whitebox.txt", "whitebox-reasons.toml")


def renewed(before: Iterable[Result], seen: Iterable[Result]) -> tuple[Result, ...]:
    """The results of a run with those of a later run of some of its tests, by name."""
    found = {result.test: result for result in (*before, *seen)}
    return tuple(found[test] for test in sorted(found))


def reason(result: Result, known: Mapping[str, str]) -> str:
    """Why a test did not pass, '' if nobody has said. A refusal of pinfold's says it itself."""
    refused = _REFUSED.search(result.observed)
    if refused:
        return refused[1]
    return next((sentence for part, sentence in known.items() if part in result.observed), "")


def counts(results: Iterable[Result]) -> Mapping[tuple[str, str], int]:
    """How many tests of each area have each status."""
    return Counter((result.area, result.status) for result in results)
