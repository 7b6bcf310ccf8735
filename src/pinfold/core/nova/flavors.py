"""Which extra specs the flavors of a Nova cloud need to book the overhead pool, and the commands that set or remove them. Pure.

A flavor with pinned vCPUs and `hw:emulator_threads_policy=share` asks for the millicpu that a guest of it books, and for hosts that have a
pool. Without pinned vCPUs the policy has no effect, and nothing is booked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.host import OverheadRates
from pinfold.core.nova.extra_specs import leaves_policy_to_image, pins, states_share
from pinfold.core.overhead import RESOURCE_CLASS, booked_millicpu
from pinfold.core.printable import shell_line
from pinfold.core.request.hardware import flavor_queues
from pinfold.core.request.model import GuestRequest
from pinfold.core.request.parse import EPHEMERAL, amount, object_once, properties
from pinfold.core.request.values import shown
from pinfold.core.traits import OVERHEAD_POOL

RESOURCE: Final = f"resources:{RESOURCE_CLASS}"
TRAIT: Final = f"trait:{OVERHEAD_POOL}"
REQUIRED: Final = "required"
MAX_FLAVORS: Final = 10_000
MAX_JSON: Final = 1 << 24
"""The longest accepted text, in characters."""

_LISTED: Final = {
    "ID": "id",
    "Name": "name",
    "VCPUs": "vcpus",
    "RAM": "ram",
    "Ephemeral": EPHEMERAL,
    "Swap": "swap",
    "Properties": "properties",
}
"""The columns of `openstack flavor list --long` by the names that `openstack flavor show` has for them."""


class NovaFlavor(Struct, frozen=True, kw_only=True):
    """A flavor of a Nova cloud. `disks` counts the disks of its guests: the root disk, and one each for ephemeral space and swap."""

    id: str
    name: str
    vcpus: int
    disks: int = 1
    extra_specs: tuple[tuple[str, str], ...] = ()

    @property
    def shares(self) -> bool:
        """Whether the emulator threads of its guests run on the shared pool by the policy `share`, which needs pinned vCPUs."""
        return states_share(self.extra_specs) and pins(self.extra_specs)

    @property
    def may_share(self) -> bool:
        """Whether that depends on the image, as this flavor states `share` and names no CPU policy."""
        return states_share(self.extra_specs) and leaves_policy_to_image(self.extra_specs)

    @property
    def queues(self) -> int:
        """The queues of each network interface of its guests; images may ask for them too, which is not known here."""
        return flavor_queues(self.vcpus, self.extra_specs)

    @property
    def booked(self) -> str | None:
        """What it books of the overhead pool, as written; None if nothing."""
        return dict(self.extra_specs).get(RESOURCE)


class FlavorChange(Struct, frozen=True, kw_only=True):
    """One flavor that must change: the extra specs to set, or the keys to remove, and why."""

    flavor: NovaFlavor
    why: str
    assigned: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()


def flavors_of(text: str, source: str) -> tuple[NovaFlavor, ...]:
    """The flavors that `openstack flavor list --all --long -f json` printed, or the one of `openstack flavor show -f json`.

    `source` says in errors where the text is from. Raises `InvalidRequest`.
    """
    if len(text) > MAX_JSON:
        raise InvalidRequest(f"{source} has {len(text)} characters; at most {MAX_JSON} are allowed")
    try:
        found: object = json.loads(text, object_pairs_hook=object_once)
    except InvalidRequest as error:
        raise InvalidRequest(f"{source}: {error}", key=error.key) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{source} is not JSON ({error}); it must be what {_COMMAND} prints") from error
    rows = found if isinstance(found, list) else [found]
    if len(rows) > MAX_FLAVORS:
        raise InvalidRequest(f"{source} has {len(rows)} flavors; at most {MAX_FLAVORS} are allowed")
    return tuple(_flavor(row, f"{source}, flavor {position}") for position, row in enumerate(rows, 1))


_COMMAND: Final = "`openstack flavor list --all --long -f json`"


def _flavor(row: object, where: str) -> NovaFlavor:
    if not isinstance(row, dict):
        raise InvalidRequest(f"{where} is no object; it must be what {_COMMAND} prints")
    fields: dict[str, object] = {_LISTED.get(str(key), str(key)): value for key, value in row.items()}
    for key in ("id", "name"):
        if not isinstance(fields.get(key), str) or not fields[key]:
            raise InvalidRequest(f"{where} has no {key}; it must be what {_COMMAND} prints", key=key)
    name = str(fields["name"])
    if "properties" not in fields:
        raise InvalidRequest(f"{where}, {shown(name)}, has no properties; list flavors with --long", key="properties")
    try:
        vcpus = amount(fields, "vcpus", None)
        if not vcpus:
            raise InvalidRequest("the flavor's vcpus is 0; it must be at least 1", key="vcpus")
        extra = sum(bool(amount(fields, key, 0)) for key in (EPHEMERAL, "swap"))
        specs = tuple(sorted(properties(fields["properties"]).items()))
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}, {shown(name)}: {error}", key=error.key) from error
    return NovaFlavor(id=str(fields["id"]), name=name, vcpus=vcpus, disks=1 + extra, extra_specs=specs)


def millicpu_of(flavor: NovaFlavor, rates: OverheadRates, nics: int) -> int:
    """What a guest of that flavor with `nics` network interfaces books, which counts their queues. Raises `InvalidRequest` if the rates
    make it nothing.
    """
    found = booked_millicpu(GuestRequest(vcpus=flavor.vcpus, memory_mib=1, disks=flavor.disks, nics=nics * flavor.queues), rates)
    if not found:
        raise InvalidRequest("the rates of [overhead] are all 0, so that no guest books anything; one must be more", key="[overhead]")
    return found


def changes(flavors: Iterable[NovaFlavor], rates: OverheadRates, nics: int) -> tuple[FlavorChange, ...]:
    """The flavors that do not book what their guests need, in the given order.

    A flavor that is right is left out. One that no longer has the policy, or no pinned vCPUs, stops booking. One that leaves it to images
    whether its vCPUs are pinned is left as it is: either answer would be wrong for some of its guests.
    """
    found = []
    for flavor in flavors:
        specs = dict(flavor.extra_specs)
        if not flavor.shares:
            if flavor.booked is not None and not flavor.may_share:
                lacks = "no pinned vCPUs" if states_share(flavor.extra_specs) else "no policy share"
                why = f"books {flavor.booked} millicpu and has {lacks}"
                found.append(FlavorChange(flavor=flavor, why=why, removed=_present(specs)))
            continue
        wanted = {RESOURCE: str(millicpu_of(flavor, rates, nics)), TRAIT: REQUIRED}
        if any(specs.get(key) != value for key, value in wanted.items()):
            found.append(FlavorChange(flavor=flavor, why=_lacking(specs, wanted), assigned=tuple(wanted.items())))
    return tuple(found)


def _lacking(specs: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    if RESOURCE not in specs:
        return "books nothing"
    if specs[RESOURCE] != wanted[RESOURCE]:
        return f"books {specs[RESOURCE]} millicpu in place of {wanted[RESOURCE]}"
    return "may go to hosts without an overhead pool"


def removals(flavors: Iterable[NovaFlavor]) -> tuple[FlavorChange, ...]:
    """The flavors that book the overhead pool or require one, in the given order: all stop."""
    return tuple(
        FlavorChange(flavor=flavor, why="books the overhead pool or requires one", removed=present)
        for flavor in flavors
        if (present := _present(dict(flavor.extra_specs)))
    )


def _present(specs: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(key for key in (RESOURCE, TRAIT) if key in specs)


def command(change: FlavorChange, others: Iterable[NovaFlavor], client: tuple[str, ...] = ("openstack",)) -> str:
    """The change as one shell command. `others` are all flavors, `client` the words that start OpenStack's client."""
    verb = "set" if change.assigned else "unset"
    pairs = [f"{key}={value}" for key, value in change.assigned] or list(change.removed)
    words = [*client, "flavor", verb]
    for pair in pairs:
        words += ["--property", pair]
    named = _named(change.flavor, others)
    return shell_line([*words, *(["--"] if named.startswith("-") else []), named])


def _named(flavor: NovaFlavor, others: Iterable[NovaFlavor]) -> str:
    """The flavor's name; its id if the name could be taken for an option or for another flavor, or does not print."""
    ambiguous = any(other.id == flavor.name or (other.name == flavor.name and other.id != flavor.id) for other in others)
    return flavor.id if ambiguous or flavor.name.startswith("-") or not flavor.name.isprintable() else flavor.name
