"""`pinfold flavor`: manage the service's flavors. `pinfold fit FLAVOR` shows where a server of one would go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.output import respond, show_json
from pinfold.cli.service import open_access, segment
from pinfold.core.errors import InvalidRequest

app = typer.Typer(help="Create, list, show, change and delete flavors of the service.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="FLAVOR", help="The flavor's name or id.", autocompletion=completion.flavors)]
Properties = Annotated[list[str] | None, typer.Option("--property", "-p", metavar="KEY=VALUE", help="An extra spec; may be repeated.")]


@app.command("list")
def list_(config: opt.Config = None, as_json: opt.Json = False) -> None:
    """List the flavors with their extra specs."""
    from pinfold.cli.views.servers import flavors_view

    with open_access(config) as service:
        flavors = service.flavors()
    respond({"flavors": flavors}, flavors_view(flavors), as_json=as_json)


@app.command("show")
def show_(name: Name, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Show one flavor."""
    with open_access(config) as service:
        _show(service.flavor(name), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The flavor's name.")],
    vcpus: Annotated[int, typer.Option("--vcpus", metavar="N", min=1, help="Number of vCPUs.")],
    ram: Annotated[int, typer.Option("--ram", metavar="MIB", min=1, help="Memory in MiB.")],
    disk: Annotated[int, typer.Option("--disk", metavar="GIB", min=0, help="Disk in GiB.")] = 0,
    properties: Properties = None,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Create a flavor. If an extra spec is wrong, nothing is created."""
    from pinfold.cli.guest_description import pairs
    from pinfold.core.request.vet import vet_extra_spec

    specs = dict(pairs("--property", properties or ()))
    for key, value in specs.items():
        vet_extra_spec(key, value)
    with open_access(config) as service:
        flavor = service.compute("POST", "/flavors", {"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk}})["flavor"]
        if specs:
            service.compute("POST", f"/flavors/{segment(flavor['id'])}/os-extra_specs", {"extra_specs": specs})
        _show(service.flavor(flavor["id"]), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    properties: Annotated[list[str], typer.Option("--property", "-p", metavar="KEY=VALUE", help="An extra spec; may be repeated.")],
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Add or replace extra specs of a flavor; servers that exist keep theirs."""
    from pinfold.cli.guest_description import pairs

    specs = dict(pairs("--property", properties))
    with open_access(config) as service:
        flavor = service.flavor(name)
        service.compute("POST", f"/flavors/{segment(flavor['id'])}/os-extra_specs", {"extra_specs": specs})
        _show(service.flavor(flavor["id"]), as_json=as_json)


@app.command()
def unset(
    name: Name,
    keys: Annotated[list[str], typer.Option("--property", "-p", metavar="KEY", help="An extra spec to remove; may be repeated.")],
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Remove extra specs from a flavor."""
    with open_access(config) as service:
        flavor = service.flavor(name)
        for key in keys:
            if key not in flavor["extra_specs"]:
                raise InvalidRequest(f"flavor {flavor['name']} has no extra spec {key!r}", key="--property")
        for key in keys:
            service.compute("DELETE", f"/flavors/{segment(flavor['id'])}/os-extra_specs/{segment(key)}")
        _show(service.flavor(flavor["id"]), as_json=as_json)


@app.command()
def delete(name: Name, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Delete a flavor; servers that exist keep theirs."""
    with open_access(config) as service:
        flavor = service.flavor(name)
        service.compute("DELETE", f"/flavors/{segment(flavor['id'])}")
    if as_json:
        show_json({"flavor": flavor["id"], "asked": "delete"})


def _show(flavor: dict[str, Any], *, as_json: bool) -> None:
    from pinfold.cli.views.servers import flavors_view

    respond({"flavor": flavor}, flavors_view([flavor]), as_json=as_json)
