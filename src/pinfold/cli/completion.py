"""Complete names in a shell: guests, servers, flavors, images and hosts as they are now. `lab` completes the names of labs.

A shell cannot show an error and its user does not want to wait: if the names are not available within moments, there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from pinfold.cli.service import Service

_SECONDS: Final = 3.0

Names = Callable[[typer.Context, str], list[str]]


def _completed(names: Callable[[typer.Context], Iterable[str]]) -> Names:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return sorted({name for name in names(context) if name.startswith(incomplete) and name.isprintable()})
        except Exception:  # the command itself will report the error
            return []

    return complete


@_completed
def guests(context: typer.Context) -> Iterator[str]:
    """The guests of this host, also by their servers' names."""
    from pinfold.cli.session import open_session, read_configuration
    from pinfold.host.survey import names_of

    configuration = read_configuration(_config(context), context.params.get("connect"), only_looks=True, quiet=True, audits=True)
    with open_session(context, configuration) as session:
        for guest in session.driver.guests():
            yield from names_of(guest)


@_completed
def file_flavors(context: typer.Context) -> Iterator[str]:
    """The flavors of the flavors file."""
    from pinfold.cli.session import read_configuration
    from pinfold.config.flavors import read_flavors

    configuration = read_configuration(_config(context), None, only_looks=True, quiet=True)
    yield from read_flavors(context.params.get("flavors") or configuration.flavors_file)


@_completed
def servers(context: typer.Context) -> Iterator[str]:
    """The servers of the service."""
    with _service(context) as service:
        yield from (server["name"] for server in service.servers())


@_completed
def flavors(context: typer.Context) -> Iterator[str]:
    """The flavors of the service."""
    with _service(context) as service:
        yield from (flavor["name"] for flavor in service.flavors())


@_completed
def images(context: typer.Context) -> Iterator[str]:
    """The images of the service."""
    with _service(context) as service:
        yield from (image["name"] for image in service.ask("GET", "/image/v2/images")["images"])


@_completed
def hosts(context: typer.Context) -> Iterator[str]:
    """The hosts of the service."""
    with _service(context) as service:
        yield from (host["name"] for host in service.ask("GET", "/v1/hosts")["hosts"])


def _config(context: typer.Context) -> Any:
    return context.params.get("config") or ()


@contextmanager
def _service(context: typer.Context) -> Iterator[Service]:
    from pinfold.cli.service import open_access

    with open_access(_config(context), seconds=_SECONDS) as service:
        yield service
