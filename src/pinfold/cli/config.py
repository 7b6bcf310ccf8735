"""`pinfold config`: print a sample, and check files. Reading them is in `pinfold.config`."""

from __future__ import annotations

import typer

from pinfold.cli.options import Json
from pinfold.cli.output import show_json

app = typer.Typer(help="Print a sample configuration, or check one.", no_args_is_help=True)


@app.command()
def sample(as_json: Json = False) -> None:
    """Print every option with its default, ready to be saved as pinfold.conf."""
    from pinfold.config.options import described
    from pinfold.config.sample import sample as text

    if as_json:
        show_json(
            {
                "options": [
                    {"group": o.group, "name": o.name, "allowed": o.allowed, "default": o.default, "help": o.help} for o in described()
                ]
            }
        )
    else:
        print(text(), end="")
