"""`pinfold advise`: size the overhead pool and its rates by what `pinfold watch` measured, or by what is assumed. Nothing has to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.nova import FlavorJson, Nics
from pinfold.cli.output import respond
from pinfold.cli.session import read_configuration
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pinfold.config import Configuration
    from pinfold.core.overhead.flavor_costs import FlavorShape
    from pinfold.core.overhead.hours import OverheadHour, ShapeHour

    ExtraSpecs = tuple[tuple[str, str], ...]


def advise(
    delay_us: Annotated[
        float, typer.Option("--delay-us", metavar="N", min=1.0, help="The target: the mean wait of overhead threads, in microseconds.")
    ] = 1000.0,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume",
            metavar="NAME=VALUE",
            help="Use this in place of a measure; may be repeated. guests: how many share the pool. vcpus: those of a guest, in place of "
            "flavors. cpu-per-guest: the pCPUs that the overhead threads of one run. busy: how busy the pool may be, up to 1. pcpus: those "
            "of the host for guests and overhead.",
        ),
    ] = None,
    flavor_json: FlavorJson = None,
    cloud: Annotated[
        str | None, typer.Option("--cloud", metavar="NAME", help="Take the flavors of this cloud of clouds.yaml, by the openstack client.")
    ] = None,
    service: Annotated[bool, typer.Option("--service", help="Take the flavors of pinfold's service.")] = False,
    nics: Nics = 1,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Say how many pCPUs the overhead pool needs, by which rates guests should book, and whether a flavor should share or isolate.

    The number of pCPUs keeps the delay target. What guests book needs pCPUs too, or Placement refuses guests: the answer says how many
    where it can, and a pool needs the larger number.

    The evidence is the journal of `pinfold watch`; each number names its own. The target is the mean time that an overhead thread of a
    guest on the pool is ready and waits, before it runs. Less than 24 measured hours are too little evidence. With --assume no journal is
    needed. The flavors are those of --flavor-json, --cloud or --service, else those of the flavors file, else the shapes of the guests that
    were measured; only those with pinned vCPUs count.
    """
    from pinfold.cli.views.advice import advice_view
    from pinfold.core.encoding import plain
    from pinfold.core.overhead.assumption import assumptions
    from pinfold.core.overhead.sizing import sizing

    assumed = assumptions(assume or (), nics=nics)
    named = {"--flavor-json": flavor_json is not None, "--cloud": cloud is not None, "--service": service}
    named |= {"--assume vcpus": assumed.vcpus is not None}
    if len(given := [name for name, there in named.items() if there]) > 1:
        raise InvalidRequest(f"{' and '.join(given)} each say which guests the answer is about; give one of them", key=given[0])
    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    settings = configuration.settings
    hours, shapes = _measured(configuration, needed=not assume)
    flavors: list[FlavorShape] | None
    if service:
        flavors, source = _of_service(config, nics)
    elif flavor_json is not None or cloud is not None:
        flavors, source = _of_cloud(cloud, flavor_json, nics)
    else:
        flavors, source = (None, "") if assumed.vcpus is not None else _of_file(configuration, nics)
    rates, fraction = settings.limits.rates, settings.limits.shared_fraction
    found = sizing(hours, shapes, delay_us, rates, settings.pools, assumed, flavors, source, fraction)
    respond(plain(found), advice_view(found), as_json=as_json)


def _measured(configuration: Configuration, *, needed: bool) -> tuple[tuple[OverheadHour, ...], tuple[ShapeHour, ...]]:
    """The hours of the journal; none if there is no journal and none is needed."""
    from pinfold.config.find import is_there
    from pinfold.watch.journal import journal_path, read_hours, read_shapes

    path = journal_path(configuration.settings)
    return (read_hours(path), read_shapes(path)) if needed or is_there(path, "journal") else ((), ())


def _of_cloud(cloud: str | None, file: str | None, nics: int) -> tuple[list[FlavorShape], str]:
    """The flavors with pinned vCPUs of a file of the openstack client, or of that cloud; and where they are from."""
    from pinfold.accounting.openstack_command import OpenstackCommand
    from pinfold.cli.nova import flavors_of_cloud

    listed = flavors_of_cloud(OpenstackCommand(cloud), file)
    return _shapes(((one.name, one.vcpus, one.disks, one.extra_specs) for one in listed), nics), file or f"cloud {cloud}"


def _of_service(config: list[str] | None, nics: int) -> tuple[list[FlavorShape], str]:
    """The flavors with pinned vCPUs of pinfold's service, and its name."""
    from pinfold.cli.service import open_access

    with open_access(config) as service:
        listed = service.flavors()
    return _shapes(((one["name"], one["vcpus"], 1, tuple(one["extra_specs"].items())) for one in listed), nics), "the service"


def _of_file(configuration: Configuration, nics: int) -> tuple[list[FlavorShape] | None, str]:
    """The flavors with pinned vCPUs of the flavors file, and its name; None if it is not there."""
    from pinfold.config.find import is_there
    from pinfold.config.flavors import read_flavors

    own = configuration.flavors_file
    if not configuration.flavors_named and not is_there(Path(own), "flavors file"):
        return None, ""
    flavors = read_flavors(own).values()
    return _shapes(((one.name, one.vcpus, 1, one.extra_specs) for one in flavors), nics), own


def _shapes(flavors: Iterable[tuple[str, int, int, ExtraSpecs]], nics: int) -> list[FlavorShape]:
    """Those with pinned vCPUs of flavors that are given as name, vCPUs, disks and extra specs. Each interface counts by its queues."""
    from pinfold.core.nova.extra_specs import floating_vcpus, pins
    from pinfold.core.overhead.flavor_costs import FlavorShape
    from pinfold.core.request.hardware import flavor_queues

    return [
        FlavorShape(
            name=name,
            vcpus=vcpus,
            disks=disks,
            nics=nics * flavor_queues(vcpus, extra_specs),
            floating=floating_vcpus(vcpus, extra_specs),
        )
        for name, vcpus, disks, extra_specs in flavors
        if pins(extra_specs)
    ]
