"""The process of the command line: the commands, given what they need of this host."""

from __future__ import annotations

import sys
from typing import NoReturn

from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.wiring.host import open_driver


def main() -> NoReturn:
    """The entry point `pinfold`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:], Parts(open_driver=open_driver)))


if __name__ == "__main__":
    main()
