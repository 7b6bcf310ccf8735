"""`pinfold version`: print the installed versions."""

from __future__ import annotations

import platform

from pinfold import __version__
from pinfold.cli.options import Json
from pinfold.cli.output import show, show_json


def version(as_json: Json = False) -> None:
    """Print the version of pinfold and of Python."""
    if as_json:
        show_json({"pinfold": __version__, "python": platform.python_version()})
    else:
        show([f"pinfold {__version__} (Python {platform.python_version()})"])
