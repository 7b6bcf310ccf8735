"""`pinfold fit FLAVOR`: show what would happen to a server of the service on every host."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond
from pinfold.cli.service import open_access


def ask_service(flavor: str, image: str, config: Sequence[str] | None, *, as_json: bool) -> None:
    """Print which hosts would take a server of that flavor (by name or id) and where, and why the others would not.

    Nothing is created. Exit status 1: no host takes it.
    """
    from pinfold.cli.views.servers import preview_view

    with open_access(config) as service:
        answer = service.ask("POST", "/v1/fits", {"flavor": flavor, "image": image})
    respond(answer, preview_view(answer), as_json=as_json)
    if not answer["candidates"]:
        raise typer.Exit(ExitStatus.REFUSED)
