"""`pinfold up`: run the whole service and this host's agent in one process. `wiring` assembles the parts."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import warn
from pinfold.cli.fleet import placement_there, read_fleet, tell_systemd_ready, watch_log
from pinfold.cli.output import show, show_json
from pinfold.config.find import named_files
from pinfold.core.errors import InvalidRequest

NoAuth = Annotated[bool, typer.Option("--no-auth", help="Let anybody in; then only 127.0.0.1 or ::1 may be listened on.")]
Lab = Annotated[bool, typer.Option("--lab", help="Use a separate synthetic host, which ends with the service. Needs root.")]
Listen = Annotated[
    str | None, typer.Option("--listen", metavar="ADDRESS", help="The address to listen on, in place of \\[pinfold_api] listen.")
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port, in place of \\[pinfold_api] port; 0 takes a free one."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every step on standard error.")]


def up(
    context: typer.Context,
    lab: Lab = False,
    no_auth: NoAuth = False,
    listen: Listen = None,
    port: Port = None,
    verbose: Verbose = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Run the API, an embedded Placement and this host's agent, until Ctrl-C.

    The first start makes an account, a clouds.yaml for OpenStack's clients and a tiny image to boot. When it ends, guests go on, except
    those of --lab.
    """
    with ExitStack() as stack:
        if lab:
            if config or connect:
                raise InvalidRequest("--lab has a host and a configuration of its own; --config and --connect exclude it", key="--lab")
            config = [_lab(stack)]
        settings = read_fleet(config, connect, listen, port, quiet=as_json)
        watch_log(verbose=verbose)

        def ready(told: Any) -> None:
            for sentence in told.warnings:
                warn(sentence)
            if as_json:
                show_json(
                    {"url": told.url, "clouds_file": told.clouds_file, "cloud": "pinfold", "host": told.host, "images": told.images_dir}
                )
            else:
                from pinfold.cli.views.up import up_view

                named = ":".join(str(Path(file).absolute()) for file in named_files(config or (), os.environ))
                placement = placement_there(settings)
                where = {"config": named, "folder": _folder(), "placement": placement}
                show(up_view(told.url, told.clouds_file, told.host, told.images_dir, lab=lab, **where))
            tell_systemd_ready()

        context.obj.processes.up(settings, no_auth=no_auth, ready=ready)
    if not as_json:
        show(["pinfold, its lab and its guests have ended" if lab else "pinfold has ended; guests go on"])


def _folder() -> str:
    """The folder of the command `pinfold` that runs, if a shell would not find it there; else ''."""
    command = Path(sys.argv[0]).absolute()
    found = shutil.which(command.name)
    here = found is not None and Path(found).resolve() == command.resolve()
    return "" if here or command.name != "pinfold" else str(command.parent)


def _lab(stack: ExitStack) -> str:
    """Run a lab until the stack is closed or the process ends. Returns the path of its configuration file."""
    from pinfold.cli.lab import DEFAULT_TOPOLOGY, start_lab

    host = start_lab(f"up-{os.getpid()}", DEFAULT_TOPOLOGY, cgroups=False, kvm=True, detached=False)
    stack.callback(host.down)
    return str(host.folder.configuration)
