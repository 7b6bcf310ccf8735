"""What `config check` and `doctor` look at. How it is shown does not belong here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import typer

from pinfold.cli.session import open_session
from pinfold.core.errors import Unavailable
from pinfold.core.request.model import Flavor


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of configuration files found: files, warnings in their order, and the pools that they make of this host.

    `host` says what the pools were checked against, or why they were not. `pools` holds `(name, cpulist)`.
    """

    files: tuple[str, ...]
    warnings: tuple[str, ...]
    host: str
    pools: tuple[tuple[str, str], ...] = ()


def check_configuration(context: typer.Context, files: Sequence[str], uri: str | None, *, offline: bool) -> Checked:
    """The files checked, and their pools against this host where libvirt answers. Raises `InvalidRequest` for files that cannot be used."""
    from pinfold.config import find_files, load
    from pinfold.config.check import repeated
    from pinfold.config.flavors import read_flavors
    from pinfold.config.parse import read_entries
    from pinfold.core.pools import build_pools

    found = find_files(files, os.environ, nova=True)
    configuration = load(found)
    if uri:
        configuration = replace(configuration, settings=replace(configuration.settings, uri=uri))
    warnings = [*configuration.warnings, *repeated(entry for file in found for entry in read_entries(file))]
    if os.path.exists(configuration.flavors_file):
        warnings += flavor_problems(tuple(read_flavors(configuration.flavors_file).values()))
    if offline:
        return Checked(files=found, warnings=tuple(warnings), host="not checked against this host (--offline)")
    try:
        with open_session(context, configuration) as session:
            topology = session.driver.topology()
    except Unavailable as error:
        return Checked(files=found, warnings=tuple(warnings), host=f"not checked against this host: {error}")
    pools, about_pools = build_pools(configuration.settings.pools, topology)
    shown = (("dedicated", str(pools.dedicated)), ("shared", str(pools.shared)), ("overhead", str(pools.overhead or "")))
    return Checked(files=found, warnings=(*warnings, *about_pools), host=f"checked against {configuration.settings.uri}", pools=shown)


def flavor_problems(flavors: Sequence[Flavor]) -> list[str]:
    """One sentence for each flavor that no guest can be made of."""
    from pinfold.core.errors import InvalidRequest
    from pinfold.core.request.compile import compile_request

    problems = []
    for flavor in flavors:
        try:
            compile_request(flavor)
        except InvalidRequest as error:
            problems.append(f"flavor {flavor.name}: {error}")
    return problems
