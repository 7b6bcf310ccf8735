"""The man pages, made from the tree of commands: `pinfold(1)`, and one page for each command or group at its top."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from docs.command_tree import Row, paragraphs, rows, status_words, tree

from pinfold.cli.app import PANELS
from pinfold.cli.exit_status import ExitStatus
from pinfold.config.find import ENVIRONMENT, NOVA_FILE, OWN_FILE

_PURPOSE: Final = "CPU placement for KVM hosts"
_FILES: Final = (
    (OWN_FILE, "The configuration. Lines that are comments set nothing; `pinfold config sample` prints every option."),
    (NOVA_FILE, f"Read in its place by the commands that only look, where {OWN_FILE} sets nothing."),
    ("/var/lib/pinfold", "Journals, locks, and the disks of guests."),
)


def man_pages(version: str, date: str) -> dict[str, str]:
    """The source of every man page by its file name. `date` is its day as YYYY-MM-DD."""
    root = dict(tree())
    made = {"pinfold.1": _root(root, version, date)}
    for top, group in groupby(root.items(), key=lambda one: one[0].partition(" ")[0]):
        made[f"pinfold-{top}.1"] = _page(top, list(group), version, date)
    return made


def _root(found: dict[str, Any], version: str, date: str) -> str:
    lines = [*_head("pinfold", _PURPOSE, version, date), ".SH SYNOPSIS", *_synopsis(""), ".SH DESCRIPTION"]
    lines += [
        _text("pinfold decides which host CPUs a guest's vCPUs and the hypervisor's own threads may run on, starts the guest there, and")
    ]
    lines += [
        _text("proves from procfs that every thread stays there. Each command has a page of its own, such as"),
        ".BR pinfold\\-audit (1).",
    ]
    for panel, names in PANELS.items():
        lines.append(f".SH {_quoted(panel.upper())}")
        for path, command in found.items():
            if path.partition(" ")[0] in names:
                lines += _entry(f"pinfold {path}", paragraphs(command)[0])
    lines += [".SH EXIT STATUS", *(line for one in ExitStatus for line in _entry(str(one.value), status_words()[one.name]))]
    lines += [".SH ENVIRONMENT", *_entry(ENVIRONMENT, "The configuration files to read, separated by colons, where --config names none.")]
    lines += [".SH FILES", *(line for file, meaning in _FILES for line in _entry(file, meaning))]
    return _joined(lines)


def _page(top: str, found: list[tuple[str, Any]], version: str, date: str) -> str:
    first = paragraphs(found[0][1])[0] if len(found) == 1 else f"commands of pinfold: {', '.join(path for path, _ in found)}"
    lines = [*_head(f"pinfold-{top}", first.rstrip("."), version, date), ".SH SYNOPSIS"]
    for number, (path, _) in enumerate(found):
        lines += [".br"] * bool(number) + _synopsis(path)
    for path, command in found:
        lines.append(".SH DESCRIPTION" if len(found) == 1 else f".SH {_quoted(f'pinfold {path}'.upper())}")
        for paragraph in paragraphs(command):
            lines += [".PP", _text(paragraph)]
        options = rows(command)
        if options and len(found) == 1:
            lines.append(".SH OPTIONS")
        lines += [line for row in options for line in _option(row)]
    return _joined([*lines, ".SH SEE ALSO", ".BR pinfold (1)"])


def _head(name: str, purpose: str, version: str, date: str) -> list[str]:
    title = [f".TH {name.upper()} 1 {date} {_quoted(f'pinfold {version}')} {_quoted('User Commands')}", ".nh", ".ad l"]
    return [*title, ".SH NAME", f"{_text(name)} \\- {_text(purpose)}"]


def _synopsis(path: str) -> list[str]:
    if not path:
        return [".B pinfold", "[\\-\\-version] [\\-\\-help]", ".I COMMAND", "[ARGUMENTS]"]
    return [f".B pinfold {_text(path)}", "[ARGUMENTS] [OPTIONS]"]


def _option(row: Row) -> list[str]:
    name, meaning, default = row
    return _entry(name, f"{meaning} Default: {default}." if default else meaning)


def _entry(term: str, meaning: str) -> list[str]:
    return [".TP", f".B {_text(term)}", _text(meaning or "See above.")]


def _quoted(text: str) -> str:
    return '"' + _text(text).replace('"', "\\(dq") + '"'


def _text(text: str) -> str:
    """The text for roff: a backslash and a hyphen are meant, and no line begins with a request."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
