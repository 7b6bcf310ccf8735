"""Since when each finding of drift has been there, as the journal keeps it beside the last snapshot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pinfold.core.drift import Finding, Severity
from pinfold.core.drift.written import WrittenFinding, finding_key, write
from pinfold.core.encoding import json_reader, json_text

Times = Mapping[tuple[str, ...], float]
"""The moment at which each finding was first seen, in seconds since the epoch, by what tells findings apart."""

_read = json_reader(tuple[tuple[tuple[str, ...], float], ...])


def times_now(known: Times, before: Iterable[WrittenFinding], now: Iterable[WrittenFinding], at: float) -> Times:
    """The times of the findings of `now`, a sweep at `at`; `known` are the times of those of `before`.

    A finding of `before` without a time is older than what the journal knows, and gets none.
    """
    old = set(map(_key, before))
    found = {_key(one): None for one in now if one.severity is Severity.DRIFT}
    return {key: known.get(key, at) for key in found if key in known or key not in old}


def since(times: Times, findings: Iterable[Finding]) -> tuple[float | None, ...]:
    """Since when each finding has been there, None where that is not known."""
    return tuple(times.get(_key(write(finding))) for finding in findings)


def encode(times: Times) -> str:
    """The written form."""
    return json_text(sorted(times.items()))


def decode(text: str) -> Times:
    """The times of a written form; none for text that is none."""
    try:
        return dict(_read(text))
    except msgspec.MsgspecError:
        return {}


def _key(finding: WrittenFinding) -> tuple[str, ...]:
    code, *others = finding_key(finding)
    return code.value, *others
