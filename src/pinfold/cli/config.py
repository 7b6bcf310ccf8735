"""`pinfold config`: print a sample, check files, print a clouds.yaml entry, or make an account. `pinfold.config` reads the files."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import show, show_json, write
from pinfold.core.encoding import plain

app = typer.Typer(help="Print a sample configuration, check one, print a clouds.yaml entry, make an account.", no_args_is_help=True)


@app.command()
def sample(as_json: opt.Json = False) -> None:
    """Print every option with its default, as a file to save as pinfold.conf."""
    from pinfold.config.options import option_descriptions
    from pinfold.config.sample import sample as text

    if as_json:
        show_json(
            {
                "options": [
                    {"group": o.group, "name": o.name, "allowed": o.allowed, "default": o.default, "help": o.help}
                    for o in option_descriptions()
                ]
            }
        )
    else:
        write(text())


@app.command()
def check(
    context: typer.Context,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="The files to check; default: those that commands read.")
    ] = None,
    config: opt.Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out the check of the pools against this host.")] = False,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Check configuration files: values, misspelled and misplaced keys, the flavors file, and the pools against this host.

    Files may be named as arguments and with `--config`; later ones win. Every error is listed. Exit status 0: nothing found. 1: something
    looks wrong, but the files can be used. 2: they cannot.
    """
    from pinfold.cli.checks import check_configuration

    found = check_configuration(context, (*(files or ()), *(config or ())), connect, offline=offline)
    if as_json:
        show_json(plain(found))
    else:
        from pinfold.cli.views.checks import check_view

        show(check_view(found))
    if found.errors:
        raise typer.Exit(ExitStatus.BAD_INPUT)
    if found.warnings:
        raise typer.Exit(ExitStatus.REFUSED)


@app.command()
def clouds(
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The API's address; default: the entry of the `pinfold up` on this host.")
    ] = None,
    username: Annotated[str, typer.Option("--username", metavar="NAME", help="The account.")] = "admin",
    password_file: Annotated[
        str | None, typer.Option("--password-file", metavar="FILE", help="The file with the password; default: standard input.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="The API was started with --no-auth.")] = False,
    ca_file: Annotated[str, typer.Option("--ca-file", metavar="FILE", help="Certificates that clients shall trust.")] = "",
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Print a clouds.yaml entry for OpenStack's clients: that of this host's `pinfold up`, or one for the API at `--url`.

    With a remote Placement in the configuration, the entry names it too. The password is read from a file or asked for, never taken from
    the command line.
    """
    from pinfold.cli.fleet import read_fleet
    from pinfold.config.clouds import clouds_yaml
    from pinfold.core.errors import InvalidRequest

    if url is None:
        text = _clouds_here(config)
    elif not url.startswith(("http://", "https://")):
        raise InvalidRequest(f"--url {url!r} is not allowed; an address such as http://127.0.0.1:8774 is", key="--url")
    else:
        password = "" if no_auth else _password(password_file)
        placement = read_fleet(config, None, None, None, quiet=True).placement
        text = clouds_yaml("pinfold", url.rstrip("/"), "" if no_auth else username, password, ca_file=ca_file, placement=placement)
    if as_json:
        show_json({"clouds.yaml": text})
    else:
        write(text)


@app.command()
def account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="admin, or reader.")] = "reader",
    password_file: Annotated[
        str | None, typer.Option("--password-file", metavar="FILE", help="The file with the password; default: standard input.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Print a line for the accounts file, with the password hashed."""
    from pinfold.api.accounts import hash_password, parse_accounts

    opt.one_of(role, ("admin", "reader"), "--role")
    line = f"{name}:{role}:{hash_password(_password(password_file))}"
    parse_accounts(line, "the account")
    if as_json:
        show_json({"account": line})
    else:
        write(line + "\n")


def _clouds_here(config: list[str] | None) -> str:
    """The clouds.yaml that `pinfold up` left in the state directory. Raises `InvalidRequest` when there is no usable one."""
    import os
    from pathlib import Path

    from pinfold.cli.service import read_access
    from pinfold.config import find_files, load
    from pinfold.config.find import is_there
    from pinfold.config.parse import read_text
    from pinfold.core.errors import InvalidRequest

    path = Path(load(find_files(config or (), os.environ, nova=False)).settings.state_dir, "clouds.yaml")
    if not is_there(path, "clouds.yaml"):
        raise InvalidRequest(f"there is no {path}, so no `pinfold up` ran here; name the API's address with --url", key="--url")
    read_access(path, "pinfold")
    return read_text(str(path), "clouds.yaml")


def _password(file: str | None) -> str:
    """Read a password from the file, or ask for it at a terminal; the line end is dropped. Raises `InvalidRequest` for an empty one or an
    unreadable file.
    """
    import sys

    from pinfold.config.parse import read_text
    from pinfold.core.errors import InvalidRequest

    if file is None and sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, err=True)
    else:
        password = (sys.stdin.readline() if file is None else read_text(file, "password file")).rstrip("\n")
    if not password:
        raise InvalidRequest(f"{file or 'standard input'}: the password is empty", key="--password-file")
    return password
