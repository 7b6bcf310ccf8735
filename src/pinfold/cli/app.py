"""The whole command line: the list of commands, and how one is run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from pinfold.cli.exit_status import ExitStatus, report
from pinfold.cli.output import silence
from pinfold.cli.session import Parts

PANELS: Final = {
    "On this host": ("guest", "fit", "host", "audit", "repair", "watch", "history", "top", "advise", "simulate", "bench", "doctor"),
    "As a service": ("up", "server", "flavor", "api", "agent", "database", "keystone"),
    "Beside Nova": ("nova",),
    "More": ("config", "lab", "version"),
}
"""The commands by the panel of the help that lists them, in its order."""

COMMANDS: Final = {name: f"pinfold.cli.{name}" for names in PANELS.values() for name in names}
"""Command or group -> its module, in the order of the help. A module has `app`, a Typer group, or a function with the command's name.

Only the module of the command that is run is imported, so that one command does not pay for the others.
"""


def command_line(only: str | None = None) -> typer.Typer:
    """The tree of commands; with `only`, just the branch of that command."""
    root = typer.Typer(
        name="pinfold",
        cls=_InOrder,
        help="CPU placement for KVM hosts: vCPUs and emulator threads exactly where the policy says, accounted and proven.",
        epilog="Exit status: " + ", ".join(f"{status.value} {status.name.lower().replace('_', ' ')}" for status in ExitStatus) + ".",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    for panel, names in PANELS.items():
        for name in names:
            if only in (None, name):
                _mount(root, name, importlib.import_module(COMMANDS[name]), panel)
    return root


def run(argv: Sequence[str], parts: Parts) -> int:
    """Run one command line and return its exit status. It raises nothing: errors are printed on standard error."""
    as_json = "--json" in argv
    try:
        completing = any(name.endswith("_COMPLETE") for name in os.environ)
        only = None if completing or not argv or argv[0] not in COMMANDS else argv[0]
        command = typer.main.get_command(command_line(only))
        _leave_out_the_type_of_flags(command)
        status = command.main(args=list(argv), prog_name="pinfold", standalone_mode=False, obj=replace(parts, typed=tuple(argv)))
        return status if isinstance(status, int) else ExitStatus.OK
    except BrokenPipeError:
        silence()
        return ExitStatus.OK
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        silence()  # Typer treats a closed pipe while it prints the help as a failure
        return ExitStatus.OK
    except typer.Abort:
        return report(KeyboardInterrupt(), as_json=as_json)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, as_json=as_json)


class _InOrder(TyperGroup):
    """The root group, which lists its commands in the order of `COMMANDS`; Typer would list single commands before groups."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=list(COMMANDS).index)


def _print_version(asked: bool) -> None:
    if asked:
        from pinfold.cli.version import version

        version()
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, as the command `version` does.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Keep the group a group even if only one command is mounted."""


def _mount(root: typer.Typer, name: str, module: object, panel: str) -> None:
    group = getattr(module, "app", None)
    if group is not None:
        root.add_typer(group, name=name, rich_help_panel=panel)
    else:
        root.command(name, rich_help_panel=panel)(getattr(module, name))


def _leave_out_the_type_of_flags(command: Any) -> None:
    """Typer 0.29 writes <bool> beside every flag of a help screen, `--help` included; a flag takes no value."""
    for option in (*command.params, command.get_help_option(typer.Context(command, help_option_names=["-h", "--help"]))):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for child in getattr(command, "commands", {}).values():
        _leave_out_the_type_of_flags(child)
