"""The reference page of the commands: the tree as the program has it, exit statuses, and the JSON documents by example."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from docs.command_tree import Row, paragraphs, rows, status_words, tree
from docs.markdown import code, sentence, table
from docs.samples import documents

from pinfold.cli.exit_status import ExitStatus

_HEAD = """# Commands

Every command takes `--help` and `--json`. `pinfold --install-completion` sets up the completion of your shell;
`_PINFOLD_COMPLETE=source_zsh pinfold` prints that of the shell it names, of bash, zsh and fish.

## Exit status

STATUSES
An error is one sentence on standard error. With `--json` it is one JSON document there, and standard output stays empty:

```json
{"error": {"kind": "invalid-request", "message": "…", "key": "hw:cpu_policy", "status": 2}}
```

`kind` is `usage`, `invalid-request`, `conflict`, `unavailable`, `not-placed`, `invariant-violation`, `interrupted` or `internal`;
`key` names the option, file or extra spec that is wrong, or is null.

## Text from elsewhere

Names of guests, servers and threads, failures and other text that pinfold did not write are shown on one line. A character that does not
print, such as an escape sequence, a line feed or a sign that reverses the direction of writing, is shown as its escape (`\\n`, `\\x1b`,
`\\u202e`). `--json` escapes the same characters as JSON does, so that the document keeps the text. Lines of the log follow the first rule.
A printed command names a guest whose name does not print by its id.

"""
_COMMON = """## Options that several commands share

Each command below names those that it takes after `Also`.

"""
_GUEST = """### What describes a guest

`guest start` and `fit` take all of these.

"""

_TITLES = ("argument or option", "meaning", "default")


def commands() -> str:
    """Every command with its arguments and options."""
    statuses = table(("status", "meaning"), [(str(status.value), sentence(status_words()[status.name])) for status in ExitStatus])
    commands = {path: rows(command) for path, command in tree()}
    common, guest = shared(commands)
    parts = [_HEAD.replace("STATUSES", statuses)]
    parts += [_COMMON, _table(common), "\n", _GUEST, _table(guest), "\n"]
    for path, command in tree():
        text = "\n\n".join(paragraphs(command))
        parts.append(f"## pinfold {path}\n\n{text}\n\n")
        own = [row for row in commands[path] if row not in common and row not in guest]
        parts.append(_table(own) + "\n" if own else "")
        also = ["[what describes a guest](#what-describes-a-guest)"] if guest[0] in commands[path] else []
        also += [_name(row) for row in commands[path] if row in common]
        parts.append(f"Also: {', '.join(also)}.\n\n" if also else "")
    parts.append(
        "## JSON documents\n\nOne document on standard output. The changelog names every key that changes. "
        "CPU sets are texts in the cpulist form. "
        "Commands that ask the service print the bodies of its API.\n"
    )
    for title, document in documents():
        parts.append(f"\n### {title}\n\n```json\n{json.dumps(document, indent=2, ensure_ascii=False)}\n```\n")
    return "".join(parts)


def shared(commands: Mapping[str, list[Row]]) -> tuple[list[Row], list[Row]]:
    """The options that three commands or more have in common, and the others that `guest start` and `fit` share; each in the order of use.

    Options are the same when name, meaning and default are. Arguments always stand with their command.
    """
    counted = Counter(row for of_one in commands.values() for row in of_one if row[0].startswith("-"))
    common = [row for row, count in counted.most_common() if count > 2]
    guest = [row for row in commands["guest start"] if row in commands["fit"] and row not in common]
    return common, guest


def _name(row: Row) -> str:
    """The long name of an option, without its value."""
    return code(row[0].split(",")[0].split(" ")[0])


def _table(found: Iterable[Row]) -> str:
    return table(_TITLES, [(code(name), meaning, default) for name, meaning, default in found])
