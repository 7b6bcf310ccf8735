"""`pinfold database`: check, back up and restore the service's SQLite database. Back up PostgreSQL with its own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond, show, show_json
from pinfold.core.errors import InvalidRequest

app = typer.Typer(help="Check, back up and restore the service's SQLite database.", no_args_is_help=True)


@app.command()
def check(config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Check that the database file is whole. Exit status 1: it is damaged, or gone."""
    from pinfold.config.find import is_there
    from pinfold.store.sqlite_file import damage

    path = _file(config)
    wrong = damage(path) if is_there(path, "database") else "it is not there"
    respond({"database": str(path), "sound": not wrong, "problem": wrong}, [f"{path}: {wrong or 'sound'}"], as_json=as_json)
    if wrong:
        raise typer.Exit(ExitStatus.REFUSED)


@app.command()
def backup(
    target: Annotated[str, typer.Argument(metavar="FILE", help="The backup. One that is there is replaced when the new one is whole.")],
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Write a copy of the database as of one instant; the service goes on meanwhile."""
    from pinfold.store.sqlite_file import back_up

    path, made = _file(config), Path(target).absolute()
    back_up(path, made)
    respond({"database": str(path), "backup": str(made)}, [f"{made} is a sound copy of {path}"], as_json=as_json)


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A backup.")], config: opt.Config = None, as_json: opt.Json = False
) -> None:
    """Replace the database with a backup. The service must not run; the current file is kept beside it."""
    from pinfold.store.sqlite_file import restore as bring_back

    path, backed_up = _file(config), Path(source).absolute()
    kept = bring_back(path, backed_up)
    if as_json:
        show_json({"database": str(path), "backup": str(backed_up), "kept": None if kept is None else str(kept)})
    else:
        show([f"{path} is {backed_up} again" + (f"; what was there is {kept}" if kept else "")])


def _file(config: list[str] | None) -> Path:
    """The database file of the configuration. Raises `InvalidRequest` for a PostgreSQL."""
    from pinfold.cli.fleet import read_fleet
    from pinfold.store.sqlite_file import file_of

    path = file_of(read_fleet(config, None, None, None, quiet=True).database)
    if path is None:
        raise InvalidRequest("[pinfold_database] connection is a PostgreSQL: back it up with pg_dump, restore it with pg_restore")
    return path
