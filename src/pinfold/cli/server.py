"""`pinfold server`: manage servers of the service, and show what the Compute API cannot express."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond, show, show_json, waiting
from pinfold.cli.service import Service, open_access, segment
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.identity import GuestId

app = typer.Typer(help="Create, list, show, stop, start, reboot, rebook and delete servers of the service.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="SERVER", help="The server's name or id.", autocompletion=completion.servers)]
Names = Annotated[list[str], typer.Argument(metavar="SERVER...", help="Servers, by name or id.", autocompletion=completion.servers)]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it is done, or has failed.")]

_DONE: Final = {"os-stop": "is stopped", "os-start": "runs", "reboot": "has rebooted"}
_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.3


@app.command("list")
def list_(
    long: Annotated[bool, typer.Option("--long", help="Show also how many findings about each server break a promise.")] = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """List the servers with their hosts and states."""
    from pinfold.cli.views.servers import servers_view

    with open_access(config) as service:
        servers = service.servers()
        if long:
            servers = service.with_drift(servers)
    respond({"servers": servers}, servers_view(servers, long=long), as_json=as_json)


@app.command("show")
def show_(name: Name, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Show a server: the CPUs of its vCPUs and emulator threads, every thread as its agent last saw it, and what other hosts lacked."""
    with open_access(config) as service:
        server = service.server(name)
        _show(service, server, as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The server's name.")],
    flavor: Annotated[str, typer.Option("--flavor", metavar="NAME", help="A flavor, by name or id.", autocompletion=completion.flavors)],
    image: Annotated[
        str,
        typer.Option("--image", metavar="NAME", help="An image, by name or id: what the server boots.", autocompletion=completion.images),
    ],
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="The one host allowed.", autocompletion=completion.hosts)] = "",
    zone: Annotated[str, typer.Option("--availability-zone", metavar="NAME", help="The availability zone.")] = "",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=300, help="How many servers to make.")] = 1,
    properties: Annotated[list[str] | None, typer.Option("--property", metavar="KEY=VALUE", help="Metadata; may be repeated.")] = None,
    wait: Wait = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Create a server, or several with --count. Exit status 1: one of them is in error; each host's reasons are shown."""
    from pinfold.cli.guest_description import pairs

    with open_access(config) as service:
        body: dict[str, Any] = {"name": name, "flavorRef": service.flavor(flavor)["id"], "networks": "none"}
        body["imageRef"] = service.image(image)["id"]
        if host:
            body["host"] = host
        if zone:
            body["availability_zone"] = zone
        if count > 1:
            body |= {"min_count": count, "max_count": count}
        body["metadata"] = dict(pairs("--property", properties or ()))
        made = service.compute("POST", "/servers", {"server": body})["server"]
        servers = _made(service, made["id"], count)
        if wait:
            servers = [_wait(service, server["id"], ("ACTIVE", "ERROR")) for server in servers]
        _show_made(service, servers, as_json=as_json)
    if any(server["status"] == "ERROR" for server in servers):
        raise typer.Exit(ExitStatus.REFUSED)


@app.command()
def delete(names: Names, wait: Wait = False, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Delete servers. Each is gone when its host's agent has confirmed that nothing of it remains.

    All names are looked up first: if one is unknown, nothing is deleted.
    """
    with open_access(config) as service:
        servers = list({server["id"]: server for server in map(service.server, names)}.values())
        for server in servers:
            service.compute("DELETE", f"/servers/{segment(server['id'])}")
        for server in servers if wait else ():
            _wait_gone(service, server)
    if as_json:
        show_json({"servers": [server["id"] for server in servers], "asked": "delete"})
    elif wait:
        show([f"server {server['name']} is deleted" for server in servers])


@app.command()
def stop(name: Name, wait: Wait = False, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Stop a server: it is asked to shut down, and ended when its time is over. It keeps its pCPUs and its disk."""
    _act(name, {"os-stop": None}, ("SHUTOFF",), wait=wait, config=config, as_json=as_json)


@app.command()
def start(name: Name, wait: Wait = False, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Start a stopped server, or one whose start failed, in the same place.

    If its host's pools no longer have that place, it starts in another place there with its disk, and the move is shown; exit status 4: the
    host has no other place now. Exit status 1 with --wait: the server is in error, and the reason is shown.
    """
    _act(name, {"os-start": None}, ("ACTIVE",), wait=wait, config=config, as_json=as_json)


@app.command()
def reboot(
    name: Name,
    hard: Annotated[
        bool, typer.Option("--hard", help="Do not ask the guest to shut down first; also for one that is off or in error.")
    ] = False,
    wait: Wait = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Reboot a running server. Exit status 1 with --wait: the server is in error, and the reason is shown."""
    _act(name, {"reboot": {"type": "HARD" if hard else "SOFT"}}, ("ACTIVE",), wait=wait, config=config, as_json=as_json)


@app.command()
def rebook(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="SERVER...", help="Servers, by name or id.", autocompletion=completion.servers)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every server that holds a host.")] = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Book the overhead of servers by today's options instead of earlier ones; no thread moves.

    Exit status 1: an overhead pool has no room; such a server keeps its booking, and the others are booked.
    """
    from pinfold.cli.views.servers import rebooked_view

    if bool(names) == every:
        raise InvalidRequest("name the servers to book anew, or all of them with --all", key="SERVER")
    with open_access(config) as service:
        servers = [service.server(name) for name in names or ()]
        if every:
            servers = [server for server in service.servers() if server["OS-EXT-SRV-ATTR:host"]]
        done = [_rebook(service, server) for server in servers]
    respond({"servers": done}, rebooked_view(done), as_json=as_json)
    if any(one["refused"] for one in done):
        raise typer.Exit(ExitStatus.REFUSED)


def _rebook(service: Service, server: dict[str, Any]) -> dict[str, Any]:
    """What one server books afterwards, and why it is not what today's options say ('' if it is)."""
    refused = ""
    try:
        service.ask("POST", f"/v1/servers/{segment(server['id'])}/rebook")
    except Conflict as error:
        refused = str(error)
    claim = _placement(service, server)["claim"]
    millicpu = 0 if claim is None else claim["fit"]["overhead_millicpu"]
    return {"server": server["id"], "name": server["name"], "overhead_millicpu": millicpu, "refused": refused}


def _act(name: str, action: dict[str, Any], until: tuple[str, ...], *, wait: bool, config: list[str] | None, as_json: bool) -> None:
    """Request an action, and report if it made the server start in another place than before."""
    from pinfold.cli.views.servers import moved_view

    with open_access(config) as service:
        server = service.server(name)
        before = _placement(service, server)["moved"]
        service.compute("POST", f"/servers/{segment(server['id'])}/action", action)
        after = _placement(service, server)["moved"]
        moved = None if after == before else after
        if moved is not None and not as_json:
            show(moved_view(server["name"], moved))
        if wait:
            server = _wait(service, server["id"], (*until, "ERROR"))
        if server["status"] == "ERROR" and wait:
            _show(service, server, as_json=as_json)
            raise typer.Exit(ExitStatus.REFUSED)
    asked = next(iter(action))
    if as_json:
        show_json({"server": server["id"], "asked": asked, "moved": moved})
    elif wait:
        show([f"server {server['name']} {_DONE[asked]}"])


def _placement(service: Service, server: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = service.ask("GET", f"/v1/servers/{segment(server['id'])}/placement")
    return found


def _wait(service: Service, server_id: GuestId, until: tuple[str, ...]) -> dict[str, Any]:
    deadline = time.monotonic() + _SECONDS
    with waiting("waiting for the host's agent"):
        while True:
            server: dict[str, Any] = service.compute("GET", f"/servers/{segment(server_id)}")["server"]
            if server["status"] in until and server["OS-EXT-STS:task_state"] is None:
                return server
            if time.monotonic() > deadline:
                raise Unavailable(f"server {server['name']} is still {server['status']} after {_SECONDS:.0f} s; its host may be away")
            time.sleep(_LOOK_SECONDS)


def _wait_gone(service: Service, server: dict[str, Any]) -> None:
    deadline = time.monotonic() + _SECONDS
    with waiting("waiting for the host's agent"):
        while any(other["id"] == server["id"] for other in service.servers()):
            if time.monotonic() > deadline:
                raise Unavailable(f"server {server['name']} is still there after {_SECONDS:.0f} s; its host may be away")
            time.sleep(_LOOK_SECONDS)


def _made(service: Service, first: str, count: int) -> list[dict[str, Any]]:
    """The servers of one create, in their order; the response to a create names only the first."""
    server: dict[str, Any] = service.compute("GET", f"/servers/{segment(first)}")["server"]
    if count == 1:
        return [server]
    reservation = server["OS-EXT-SRV-ATTR:reservation_id"]
    made = [one for one in service.servers() if one["OS-EXT-SRV-ATTR:reservation_id"] == reservation]
    return sorted(made, key=lambda one: int(one["OS-EXT-SRV-ATTR:launch_index"]))


def _show_made(service: Service, servers: list[dict[str, Any]], *, as_json: bool) -> None:
    """Show one server in full; show several as a list, and in full those that are in error."""
    from rich.text import Text

    from pinfold.cli.views.servers import server_view, servers_view

    if len(servers) == 1:
        _show(service, servers[0], as_json=as_json)
        return
    placements = {
        server["id"]: service.ask("GET", f"/v1/servers/{segment(server['id'])}/placement")
        for server in servers
        if as_json or server["status"] == "ERROR"
    }
    if as_json:
        show_json({"servers": [{"server": server, "placement": placements[server["id"]]} for server in servers]})
        return
    show(servers_view(servers))
    for server in servers:
        if server["status"] == "ERROR":
            show([Text(), *server_view(server, placements[server["id"]])])


def _show(service: Service, server: dict[str, Any], *, as_json: bool) -> None:
    from pinfold.cli.views.servers import server_view

    placement = _placement(service, server)
    respond({"server": server, "placement": placement}, server_view(server, placement), as_json=as_json)
