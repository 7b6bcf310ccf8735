"""The reference page of written forms, from the types of the values, their docstrings and `form_meanings`."""

from __future__ import annotations

from typing import Any, Final

from docs.form_meanings import MEANINGS
from docs.markdown import code, table

from pinfold.agent.wire import ThreadReport
from pinfold.core import host_map, reasons
from pinfold.core.drift.written import WrittenFinding
from pinfold.core.encoding import VERSION
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.written import FitAnswer
from pinfold.core.form_schema import schema
from pinfold.core.history import HostHistory
from pinfold.core.overhead.sizing import Sizing
from pinfold.drivers.port import HostGuest
from pinfold.store.records import Move, WrittenClaim

FORMS: Final[tuple[tuple[str, tuple[Any, ...], str], ...]] = (
    (
        "Fit",
        (Fit,),
        """In the database (claims), the record in a domain, agents' orders, `POST /v1/fits`,
`GET /v1/servers/ID/placement`, and the `--json` of `pinfold fit`, `server show` and all commands that show a
guest.""",
    ),
    ("Reason", (reasons.Reason,), "In fits (as warnings) and refusals. The codes are in [reasons](reasons.md)."),
    (
        "Answers and refusals",
        (FitAnswer,),
        """`POST /v1/fits`, `pinfold fit --json` and a refused `pinfold guest start --json` answer with a `FitAnswer`. A
refused `pinfold guest replace --json` prints a `Refusal`. The database keeps the refusals of a guest, without
their sentences; `GET /v1/servers/ID/placement` and `pinfold server show --json` have them.""",
    ),
    (
        "Claim",
        (WrittenClaim, Move),
        """`GET /v1/servers/ID/placement`, `pinfold server show --json` and agents' orders have the claim. The first two also
have the last move of one whose place was lost. The move is kept so in the database.""",
    ),
    (
        "Finding",
        (WrittenFinding,),
        """In the reports of agents, the database, `GET /v1/drift`, `GET /v1/hosts/NAME/drift`, and the `--json` of
`pinfold audit`, `repair`, `guest show` and `host drift`. The codes are in [findings](findings.md).""",
    ),
    (
        "Thread",
        (ThreadReport,),
        """A thread is in the `--json` of `pinfold guest show`, `guest start` and `audit`, and in a `ThreadReport`. An
agent sends that for each guest; the database keeps it, and `GET /v1/servers/ID/placement` shows it as
`observed`.""",
    ),
    (
        "Guest",
        (HostGuest,),
        """In the `--json` of `pinfold guest list`, `show`, `start`, `restart`, `replace`, `stop` and `orphans`, of
`audit` and of `repair`. The `Record` is what pinfold writes into a domain's metadata, in the namespace
`urn:pinfold:guest:2`.""",
    ),
    ("Host map", (host_map.HostMap,), "`GET /v1/hosts/NAME/map` and `pinfold host map --json`. It is not stored."),
    (
        "Host history",
        (HostHistory,),
        """The last hour of a host in samples: `pinfold watch` and a service's agent keep it in memory, for `pinfold host
history` and `GET /v1/hosts/NAME/history`. The arrays of a row have
one number for each of `ends`.""",
    ),
    ("Sizing", (Sizing,), "`pinfold advise --json`. It is not stored."),
)
_TITLES: Final = frozenset(title for title, _, _ in FORMS)
_UNITS: Final = {"_mib": "MiB", "_gib": "GiB", "_kib": "KiB", "_millicpu": "millicpu"}
_MOST_VALUES: Final = 8

_HEAD: Final = f"""# Written forms

Each thing has one JSON form, wherever it is written. pinfold checks types and bounds when it reads one, and ignores fields that it does not
know. A field in *italics* may be left out when pinfold reads the form; it writes all fields. Where a description says None, the form
has `null`.

The version of stored texts is {VERSION}: the columns of the database, and the record in a domain, hold `{{"v": {VERSION}, "value": ...}}`,
where `value` is the form. Messages between agents and the service have the version of their protocol instead.
Documents of `/v1` and `--json` have none.
[Design 0010](../design/0010-written-forms.md) says how forms may change.

A cpulist is a text with CPUs as Linux writes them, such as `0-3,8`; `""` is no CPU.
"""


def forms() -> str:
    """The page: every form with the types of which it is made, each type once."""
    parts, seen = [_HEAD], set[str]()
    for title, types, where in FORMS:
        parts.append(f"\n## {title}\n\n{where}\n")
        for one in types:
            parts += _types(schema(one), seen)
    return "".join(parts)


def _types(found: dict[str, Any], seen: set[str]) -> list[str]:
    """The sections of an object's schema and of the objects in it that have none yet."""
    if found.get("type") != "object" or "title" not in found:
        inner = [*found.get("anyOf", ()), *(found[key] for key in ("items", "additionalProperties") if key in found)]
        return [section for one in inner for section in _types(one, seen)]
    if found["title"] in seen:
        return []
    seen.add(found["title"])
    properties = found["properties"].items()
    return [_section(found), *(section for _, one in properties for section in _types(one, seen))]


def _section(found: dict[str, Any]) -> str:
    meanings = MEANINGS[found["title"]]
    rows = [
        (code(name) if name in found["required"] else f"*{code(name)}*", _type(one), _unit(name), meanings[name])
        for name, one in found["properties"].items()
    ]
    head = "" if found["title"] in _TITLES else f"\n### {found['title']}\n"
    return f"{head}\n{found['description']}\n\n" + table(("field", "type", "unit", "meaning"), rows)


def _unit(name: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _type(found: dict[str, Any]) -> str:
    match found:
        case {"anyOf": kinds}:
            return " or ".join(dict.fromkeys(map(_type, kinds)))
        case {"enum": values}:
            return ", ".join(map(code, values)) if len(values) <= _MOST_VALUES else f"one of {len(values)} codes"
        case {"title": title}:
            return f"[{title}](#{title.lower()})"
        case {"type": "array", "items": {"type": "array", "minItems": 2, "items": items}}:
            return f"array of pairs of {_type(items)}"
        case {"type": "array", "items": items}:
            return f"array of {_type(items)}"
        case {"type": "object", "additionalProperties": value}:
            return f"object of {_type(value)}"
        case {"type": "string", "description": _}:
            return "cpulist"
    return str(found["type"])
