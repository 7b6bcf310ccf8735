"""The options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pinfold.core.errors import InvalidRequest

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
        raise InvalidRequest(f"{option} is {name[:40]!r}, one of {', '.join(allowed)} is allowed", key=option)
    return name
