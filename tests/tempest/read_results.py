"""Prints a run's results as JSON lines `[test, status, observed]`: `python read_results.py <subunit stream>`, in tempest's own environment.

A class whose set-up failed or skipped has the test `setUpClass (CLASS)`. What was observed is the exception of a failure, or the words of a
skip.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import subunit  # type: ignore[import-not-found,import-untyped,unused-ignore]
import testtools  # type: ignore[import-not-found,import-untyped,unused-ignore]

_EXCEPTION = re.compile(r"^\s*(tempest|testtools|jsonschema|\w+Error|\w+Exception)[\w.]*: ")
_MOST = 400


def show(test: dict[str, Any]) -> None:
    """One result; a test that only exists is left out."""
    if test["status"] in ("exists", "inprogress"):
        return
    details = {name: content.as_text() for name, content in test["details"].items() if content.content_type.type == "text"}
    text = details.get("reason") or "\n".join(value for name, value in details.items() if name.startswith("traceback"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = max((number for number, line in enumerate(lines) if _EXCEPTION.match(line)), default=max(len(lines) - 1, 0))
    print(json.dumps([test["id"], test["status"], " ".join(lines[first : first + 2])[:_MOST]]))


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as stream:
        case = subunit.ByteStreamToStreamResult(stream, non_subunit_name="stdout")
        result = testtools.StreamToDict(show)
        result.startTestRun()
        case.run(result)
        result.stopTestRun()
