"""The options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, TypeVar

import typer

from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import listed
from pinfold.core.printable import quoted

Choice = TypeVar("Choice", bound=Enum)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; errors are one JSON document on standard error.")]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A pinfold.conf or nova.conf; may be repeated, later ones win. Default: $PINFOLD_CONFIG, then /etc/pinfold/pinfold.conf.",
    ),
]
Connect = Annotated[
    str | None,
    typer.Option(
        "--connect",
        "-c",
        metavar="URI",
        help="The libvirt to work on, in place of \\[libvirt] connection_uri; or processes:, for QEMU processes that no libvirt keeps.",
    ),
]


def one_of(name: str, allowed: Sequence[str], option: str) -> str:
    """The name, which is one of those that are allowed. Raises `InvalidRequest`."""
    if name not in allowed:
        raise InvalidRequest(f"{option} {quoted(name)} is not allowed; {listed(allowed, 'or')} is", key=option)
    return name


def member_of(kind: type[Choice], value: str, option: str) -> Choice:
    """The member of an enumeration that has this value. Raises `InvalidRequest`."""
    return kind(one_of(value, [member.value for member in kind], option))
