"""`pinfold config`: print a sample, and check files. Reading them is in `pinfold.config`."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import show, show_json
from pinfold.cli.status import ExitStatus

app = typer.Typer(help="Print a sample configuration, or check one.", no_args_is_help=True)


@app.command()
def sample(as_json: opt.Json = False) -> None:
    """Print every option with its default, ready to be saved as pinfold.conf."""
    from pinfold.config.options import described
    from pinfold.config.sample import sample as text

    if as_json:
        show_json(
            {
                "options": [
                    {"group": o.group, "name": o.name, "allowed": o.allowed, "default": o.default, "help": o.help} for o in described()
                ]
            }
        )
    else:
        print(text(), end="")


@app.command()
def check(
    context: typer.Context,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="The files to check; default: those that commands read.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out the check of the pools against this host.")] = False,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Check configuration files: values, misspelled and misplaced keys, the flavors file, and the pools against this host.

    Exit status 0: nothing found. 1: something looks wrong, but the files can be used. 2: they cannot.
    """
    from pinfold.cli.checks import check_configuration
    from pinfold.cli.documents import check_document

    found = check_configuration(context, files or (), connect, offline=offline)
    if as_json:
        show_json(check_document(found))
    else:
        from pinfold.cli.views.checks import check_view

        show(check_view(found))
    if found.warnings:
        raise typer.Exit(ExitStatus.REFUSED)
