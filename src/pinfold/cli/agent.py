"""`pinfold agent`: run the agent of this host, or read what it noted about a guest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import show, show_json
from pinfold.cli.up import Verbose
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from pinfold.agent.story import Story

app = typer.Typer(invoke_without_command=True)


@app.callback()
def agent(
    context: typer.Context, verbose: Verbose = False, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False
) -> None:
    """Run this host's agent until Ctrl-C or SIGTERM. Guests go on when it ends."""
    if context.invoked_subcommand is not None:
        if verbose or config or connect or as_json:
            raise InvalidRequest("options go after `story`: pinfold agent story GUEST --config FILE", key="story")
        return
    from pinfold.cli.daemons import AgentCommand

    context.obj.processes.agent(AgentCommand(config=tuple(config or ()), connect=connect, verbose=verbose, as_json=as_json))


@app.command()
def story(
    guest: Annotated[str, typer.Argument(metavar="GUEST", help="Its id, its name on the hypervisor, or the name of its server.")],
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Print what the agent of this host ordered, did, saw and reported about one guest, oldest first.

    The agent need not run. Attach the output to a report about a guest that does not start, stop or go away.
    """
    from pinfold.agent import story as stories
    from pinfold.agent.story_file import read_stories, stories_path
    from pinfold.cli.session import read_configuration

    settings = read_configuration(config, None, only_looks=False, quiet=as_json).settings
    found = stories.story(read_stories(stories_path(settings)), guest)
    if as_json:
        show_json(story_document(found))
    else:
        from pinfold.cli.views.columns import Columns

        table = Columns("time", "what", whole=("time",))
        for entry in found.entries:
            table.add_row(f"{_time(entry.time):%Y-%m-%d %H:%M:%S}", entry.what)
        show([f"Guest {found.guest}{f', server {found.name}' if found.name else ''}, times in UTC:", table])


def story_document(found: Story) -> dict[str, Any]:
    """The JSON document of a story."""
    return {
        "guest": found.guest,
        "server": found.name or None,
        "events": [{"time": f"{_time(entry.time):%Y-%m-%dT%H:%M:%SZ}", "what": entry.what} for entry in found.entries],
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
