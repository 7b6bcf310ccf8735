"""`pinfold advise`: size the overhead pool and its rates by what `pinfold watch` measured, or by what is assumed. Nothing has to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.nova import FlavorJson, Nics
from pinfold.cli.output import show, show_json
from pinfold.cli.session import read_configuration

if TYPE_CHECKING:
    from pinfold.config import Configuration
    from pinfold.core.overhead.flavor_costs import FlavorShape
    from pinfold.core.overhead.hours import OverheadHour, ShapeHour


def advise(
    delay_us: Annotated[
        float, typer.Option("--delay-us", metavar="N", min=1.0, help="The target: the mean wait of overhead threads, in microseconds.")
    ] = 1000.0,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume",
            metavar="NAME=VALUE",
            help="Use this in place of a measure; may be repeated. guests: how many share the pool. cpu-per-guest: the pCPUs that the "
            "overhead threads of one run. busy: how busy the pool may be, up to 1. pcpus: those of the host for guests and overhead.",
        ),
    ] = None,
    flavor_json: FlavorJson = None,
    nics: Nics = 1,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Say how many pCPUs the overhead pool needs, by which rates guests should book, and whether a flavor should share or isolate.

    The evidence is the journal of `pinfold watch`; each number names its own. The target is the mean time that an overhead thread of a
    guest on the pool is ready and waits, before it runs. Less than 24 measured hours are too little evidence. With --assume no journal is
    needed. The flavors are those of --flavor-json, else those of the flavors file, else the shapes of the guests that were measured; only
    those with pinned vCPUs count.
    """
    from pinfold.cli.views.advice import advice_view
    from pinfold.core.encoding import plain
    from pinfold.core.overhead.assumption import assumptions
    from pinfold.core.overhead.sizing import sizing

    assumed = assumptions(assume or ())
    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    settings = configuration.settings
    hours, shapes = _measured(configuration, needed=not assume)
    flavors, source = _flavors(configuration, flavor_json, nics)
    found = sizing(hours, shapes, delay_us, settings.limits.rates, settings.pools, assumed, flavors, source)
    if as_json:
        show_json(plain(found))
    else:
        show(advice_view(found))


def _measured(configuration: Configuration, *, needed: bool) -> tuple[tuple[OverheadHour, ...], tuple[ShapeHour, ...]]:
    """The hours of the journal; none if there is no journal and none is needed."""
    from pinfold.watch.journal import journal_path, read_hours, read_shapes

    path = journal_path(configuration.settings)
    return (read_hours(path), read_shapes(path)) if needed or path.is_file() else ((), ())


def _flavors(configuration: Configuration, file: str | None, nics: int) -> tuple[list[FlavorShape] | None, str]:
    """The flavors with pinned vCPUs, and where they are from; None if neither file is there."""
    from pinfold.config.flavors import read_flavors
    from pinfold.config.parse import read_text
    from pinfold.core.nova.flavors import flavors_of
    from pinfold.core.overhead.flavor_costs import FlavorShape, pinned

    if file is not None:
        listed = flavors_of(read_text(file, "flavor file"), f"flavor file {file}")
        found = [FlavorShape(name=one.name, vcpus=one.vcpus, disks=one.disks, nics=nics) for one in listed if pinned(one.extra_specs)]
        return found, file
    own = configuration.flavors_file
    if not configuration.flavors_named and not Path(own).exists():
        return None, ""
    flavors = read_flavors(own).values()
    return [FlavorShape(name=one.name, vcpus=one.vcpus, disks=1, nics=nics) for one in flavors if pinned(one.extra_specs)], own
