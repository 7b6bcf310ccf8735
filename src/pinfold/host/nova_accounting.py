"""What a Nova compute node has for overhead, and what Placement knows of it. `core.nova` decides what that means."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from pathlib import Path

from pinfold.accounting.resources import OVERHEAD, Inventory, inventories
from pinfold.core.drift import Subject
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import HostState
from pinfold.core.nova.accounting import Guest, Node
from pinfold.core.nova.provider_config import SUFFIX, THIS_NODE
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.host import files
from pinfold.host.claims import reading_of
from pinfold.host.survey import Survey

_MAX_BYTES = 1 << 20


def check_settings(settings: HostSettings) -> None:
    """Raises `InvalidRequest` for a pool that Nova does not know: it runs emulator threads on `cpu_shared_set` alone."""
    if settings.pools.overhead is not None:
        raise InvalidRequest(
            f"[compute] cpu_overhead_set in {settings.source} is not Nova's, which runs emulator threads of policy share on "
            "cpu_shared_set; leave it out for a Nova node",
            key="[compute] cpu_overhead_set",
        )


def pool_inventory(host: HostState) -> Inventory | None:
    """The inventory of the host's overhead pool, as pinfold's own service has it; None if guests book nothing there."""
    return dict(inventories(host)).get(OVERHEAD)


def needed_inventory(host: HostState, settings: HostSettings) -> Inventory:
    """The same for a host that must have one. Raises `InvalidRequest` that says why it has none."""
    found, where = pool_inventory(host), settings.source or "no configuration file"
    if found is not None:
        return found
    if host.pools.overhead is None:
        why = "cpu_shared_set is not set: Nova then lets emulator threads of policy share float over their guest's own pCPUs"
    elif not host.pools.overhead:
        why = f"cpu_shared_set {settings.pools.shared} is offline"
    else:
        why = f"[overhead] shared_fraction {host.limits.shared_fraction:g} leaves no millicpu of cpu_shared_set for overhead"
    raise InvalidRequest(f"there is no overhead pool to account ({where}): {why}", key="[compute] cpu_shared_set")


def node_of(seen: Survey, settings: HostSettings, nics: int) -> Node:
    """The node and its guests with policy `share`, running or not: a stopped server keeps its allocation."""
    guests = []
    for guest in seen.guests:
        if guest.nova is None or guest.record is not None or guest.problem:
            continue
        if reading_of(seen, Subject(name=guest.name), guest).policy is EmulatorPolicy.SHARE:
            guests.append(Guest(id=guest.id, name=guest.server or guest.name, flavor=guest.nova.flavor, vcpus=guest.nova.vcpus))
    offered = pool_inventory(seen.state)
    inventory = None if offered is None else {name: float(value) for name, value in asdict(offered).items()}
    return Node(inventory=inventory, guests=tuple(guests), rates=settings.limits.rates, nics=nics)


def provider_names(settings: HostSettings, named: str | None, *, local: bool) -> tuple[str, ...]:
    """The names that Placement may have for the node: the given one, or those by which libvirt and Nova know this machine.

    Raises `InvalidRequest` for another machine without a name.
    """
    if named is not None:
        return (named,)
    if not local:
        raise InvalidRequest(f"{settings.uri} is another machine; --name says which resource provider it is", key="--name")
    return (settings.host, socket.getfqdn(), socket.gethostname())


def write(text: str, output: str) -> tuple[str, ...]:
    """Write a provider configuration file, readable by everybody, in one step. Returns warnings about its folder.

    Raises `InvalidRequest` if Nova would not read a file of that name, or if it cannot be written.
    """
    path = Path(output).absolute()
    if path.suffix != SUFFIX:
        raise InvalidRequest(f"--output {output} is not allowed; Nova reads only files whose names end with {SUFFIX}", key="--output")
    try:
        with files.written(path.parent, path.name) as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text.encode())
    except OSError as error:
        raise InvalidRequest(f"--output {output} cannot be written: {error.strerror}", key="--output") from error
    return _rivals(path)


def _rivals(path: Path) -> tuple[str, ...]:
    """A warning for each other file of the folder that names every node too: nova-compute does not start with two."""
    found = []
    for other in sorted(path.parent.glob(f"*{SUFFIX}")):
        try:
            with other.open("rb") as stream:
                rival = other != path and THIS_NODE.encode() in stream.read(_MAX_BYTES)
        except OSError:
            continue
        if rival:
            found.append(f"{other} names {THIS_NODE} too; if both files do, nova-compute does not start: put both entries into one file")
    return tuple(found)
