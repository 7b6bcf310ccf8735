"""The options that several commands share, each defined once."""

from __future__ import annotations

from typing import Annotated

import typer

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
