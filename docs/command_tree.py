"""The commands of the program, with the help, arguments and options of each. `command_page` and the manual pages show them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from pinfold.cli.app import command_line
from pinfold.cli.exit_status import ExitStatus

Row = tuple[str, str, str]
"""An argument or option: name with value, meaning, default."""

_COMPLETION = {"install_completion", "show_completion"}


def tree() -> Iterator[tuple[str, Any]]:
    """`(path, command)` of every command that does something, in the order of the help."""
    yield from _walk("", typer.main.get_command(command_line()))


def paragraphs(command: Any) -> list[str]:
    """The help of a command, each paragraph on one line."""
    return [" ".join(paragraph.split()).replace("\\[", "[") for paragraph in inspect.cleandoc(command.help or "").split("\n\n")]


def rows(command: Any) -> list[Row]:
    """The arguments and options of a command in their order, `--help` and those of the completion left out."""
    return [_row(parameter) for parameter in command.params if parameter.name not in (*_COMPLETION, "help")]


def status_words() -> dict[str, str]:
    """The docstring below each member of `ExitStatus`, which the language itself does not keep."""
    source = inspect.getsource(ExitStatus)
    return dict(re.findall(r'^    ([A-Z_]+) = \d+\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None or command.invoke_without_command:
        yield path, command
    for name in command.list_commands(None) if children else ():
        yield from _walk(f"{path} {name}".strip(), children[name])


def _row(parameter: Any) -> Row:
    words = " ".join((parameter.help or "").replace("\\[", "[").split())
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name.strip('[]')}]", words, ""
    flags = ", ".join(parameter.opts)
    if parameter.secondary_opts:
        flags += " / " + ", ".join(parameter.secondary_opts)
    metavar = "" if parameter.is_flag else f" {parameter.metavar or ''}".rstrip()
    default = "" if parameter.default in (None, False, "", ()) or callable(parameter.default) else str(parameter.default)
    return flags + metavar, words, default
