"""`pinfold keystone`: register this service in a cloud's Keystone. `core.registration` decides what is missing."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import show_json, waiting, write

if TYPE_CHECKING:
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.registration import Step, Wanted


class Registry(Protocol):
    """Where the steps are done: a cloud's Keystone."""

    def carry_out(self, step: Step, /, *, password: str) -> None:
        """Do one step."""
        ...


app = typer.Typer(help="Register the service in a cloud's Keystone, for its users and their tokens.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep the group a group while it has one command."""


@app.command()
def register(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="The API's address as clients reach it: http:// or https://.")],
    cloud: Annotated[
        str | None,
        typer.Option("--cloud", metavar="NAME", help="The entry of clouds.yaml with an admin's credentials; default: $OS_CLOUD and so on."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="NAME", help="The region, made if it is new; default: that of the credentials, or the only one."),
    ] = None,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="The user by which the service checks tokens.")] = "pinfold",
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="The project of that user.")] = "service",
    domain: Annotated[str, typer.Option("--domain", metavar="NAME", help="The domain of that user and project.")] = "Default",
    apply: Annotated[
        bool, typer.Option("--apply", help="Make what is missing, and a new user's password; without it, only print the commands.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write \\[keystone_authtoken] to a new file (mode 0600); default: print it."),
    ] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands alone, for a shell.")] = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Print the openstack commands that are missing for this service in Keystone, or do the same with --apply.

    Services and endpoints for clients, and a user by which the service checks tokens. What exists already stays and is named. At the end
    comes the section \\[keystone_authtoken] of pinfold.conf. No secret is on a command line: the openstack client asks for the password,
    and --apply makes one. The credentials are an admin's, as the openstack client takes them.
    """
    from pinfold.accounting.keystone_registry import KeystoneRegistry
    from pinfold.cli.fleet import read_fleet
    from pinfold.config.keystone import authtoken_section, new_private_file
    from pinfold.core.errors import InvalidRequest
    from pinfold.core.registration import MakeUser, Wanted, command, existing, is_base_address, missing_steps

    if not is_base_address(url):
        raise InvalidRequest(f"--url {url!r} is not allowed; an address such as https://pinfold.example:8774 is", key="--url")
    types = _types(read_fleet(config, None, None, None, quiet=as_json))
    registry = KeystoneRegistry(cloud)
    with waiting("asking Keystone …"):
        wanted = Wanted(
            url=url.rstrip("/"),
            types=types,
            region=region or registry.only_region(),
            keystone=registry.address,
            user=user,
            project=project,
            domain=domain,
        )
        found = registry.registered(wanted)
    steps, there = missing_steps(wanted, found), existing(wanted, found)
    lines = [command(step) for step in steps]
    if commands and not apply:
        write("".join(f"{line}\n" for line in lines))
        return
    password = secrets.token_urlsafe(24) if apply and any(isinstance(step, MakeUser) for step in steps) else ""
    section = authtoken_section(wanted, password)
    if output:
        with new_private_file(output) as stream:  # before anything is made, so that a new password is not lost
            stream.write(section)
    if apply:
        with waiting("registering …"):
            carry_out(registry, steps, password, section, output)
    if as_json:
        document = {"region": wanted.region, "made": apply, "commands": lines, "exists": list(there), "file": output}
        show_json(document | ({"section": section} if output is None else {}))
        return
    _print(wanted, lines, there, section if output is None else "", output, made=apply)


def _types(settings: FleetSettings) -> tuple[str, ...]:
    """The types of services that the API has: Placement only where it is embedded."""
    from pinfold.accounting.embedded import EmbeddedPlacement

    embedded = isinstance(settings.placement, EmbeddedPlacement)
    return ("compute", "image", "network", *(("placement",) if embedded else ()))


def carry_out(registry: Registry, steps: tuple[Step, ...], password: str, section: str, output: str | None) -> None:
    """Do the steps. `section` has the password of a user that is made; it is in the file `output`, or printed later.

    Where a step fails after the user was made, the section is kept: in its file, or printed now. Otherwise the file is removed.
    """
    from pinfold.core.errors import PinfoldError
    from pinfold.core.registration import MakeUser

    made = ""
    try:
        for step in steps:
            registry.carry_out(step, password=password)
            made = step.name if isinstance(step, MakeUser) else made
    except PinfoldError as error:
        if not made:
            if output:
                Path(output).unlink(missing_ok=True)
            raise
        if not output:
            write(section)
        where = output or "the section that was printed"
        raise type(error)(f"{error}; the user {made} was made before, and its password is in {where}") from error


def _print(wanted: Wanted, lines: list[str], there: tuple[str, ...], section: str, output: str | None, *, made: bool) -> None:
    from pinfold.core.printable import shown

    said = [f"# Keystone at {wanted.keystone}, region {wanted.region}"]
    said += [f"# exists: {phrase}" for phrase in there]
    said += [f"# done: {line}" if made else line for line in lines]
    said += [] if lines else ["# everything is registered"]
    said += [f"# {output} has the section [keystone_authtoken]"] if output is not None else ["", "# for pinfold.conf:"]
    write("".join(f"{shown(line)}\n" for line in said) + section)
