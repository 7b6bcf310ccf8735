"""What the commands that run a part of the service share: its settings with what the command line said, and the log on standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pinfold.cli.status import warn

if TYPE_CHECKING:
    from pinfold.config.fleet import FleetSettings


def read_fleet(named: Sequence[str] | None, uri: str | None, listen: str | None, port: int | None, *, quiet: bool) -> FleetSettings:
    """The fleet's settings for one command. Slips in the files are said on standard error, unless `quiet`. Raises `InvalidRequest`."""
    from pinfold.config import find_files, load
    from pinfold.config.fleet import load_fleet

    files = find_files(named or (), os.environ, nova=False)
    if not quiet:
        for sentence in load(files).warnings:
            warn(sentence)
    settings = load_fleet(files)
    api = replace(settings.api, listen=listen or settings.api.listen, port=settings.api.port if port is None else port)
    return replace(settings, host=replace(settings.host, uri=uri or settings.host.uri), api=api)


def watch_log(*, verbose: bool) -> None:
    """Write the log to standard error: warnings and worse, or every step."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("pinfold").setLevel(logging.INFO if verbose else logging.WARNING)
    # Placement logs at DEBUG and INFO what each request did; its warnings are worth hearing.
    logging.getLogger("placement").setLevel(logging.WARNING)
