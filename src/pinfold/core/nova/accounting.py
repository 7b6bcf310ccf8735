"""Compare what a compute node, Placement and the cloud's flavors say about the overhead pool, and plan what makes them agree. Pure.

1. The node's provider has the inventory of its pool and the trait, or neither if the node has no pool.
2. Flavors book what their guests need (`flavors`).
3. Every guest with policy `share` books its millicpu. Guests that are older than their flavor's extra specs are healed: their allocation
   is written anew with the millicpu added, as far as the pool has room, in the order of their names.

A removal is the same walk backwards: flavors stop booking, allocations lose the millicpu, the provider loses the trait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.nova import flavors as offers
from pinfold.core.nova.flavors import NovaFlavor
from pinfold.core.overhead import RESOURCE_CLASS
from pinfold.core.printable import shell_line
from pinfold.core.traits import OVERHEAD_POOL

PROVIDER_WORDS: Final = ("--os-placement-api-version", "1.28", "resource", "provider")
"""How each command about resource providers begins. 1.28 is the first microversion that notices a change of the allocation between reading
and writing it, and that keeps a consumer's type.
"""

Resources = Mapping[str, int]

FIELDS: Final = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
"""What Placement keeps of an inventory."""


class Provider(Struct, frozen=True, kw_only=True):
    """The node's resource provider in Placement. `inventory` is that of the overhead pool, with `FIELDS`, None if there is none.

    `consumers` are what each consumer has allocated of this provider.
    """

    uuid: str
    name: str
    inventory: Mapping[str, float] | None
    traits: frozenset[str]
    consumers: Mapping[str, Resources]


class Allocation(Struct, frozen=True, kw_only=True):
    """Everything that a consumer has allocated, by provider, with its owner."""

    providers: Mapping[str, Resources]
    project: str
    user: str


class Guest(Struct, frozen=True, kw_only=True):
    """A guest of Nova's on the node with policy `share`. `id` is the server's, and its consumer's in Placement."""

    id: str
    name: str
    flavor: str
    vcpus: int


class Node(Struct, frozen=True, kw_only=True):
    """The compute node: the inventory of its overhead pool with `FIELDS`, None if it has no pool, and its guests with policy `share`."""

    inventory: Mapping[str, float] | None
    guests: tuple[Guest, ...]
    rates: OverheadRates
    nics: int = 1


class Disagreement(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be, in a sentence. `command` repairs it, '' if no single command does."""

    subject: str
    sentence: str
    command: str = ""


def unbooked(node: Node, provider: Provider) -> tuple[Guest, ...]:
    """The guests that have an allocation of this provider without millicpu, ordered by name and id."""
    known = provider.consumers
    return tuple(guest for guest in _by_name(node.guests) if guest.id in known and RESOURCE_CLASS not in known[guest.id])


def disagreements(
    node: Node, provider: Provider, flavors: tuple[NovaFlavor, ...], allocations: Mapping[str, Allocation], client: tuple[str, ...]
) -> tuple[Disagreement, ...]:
    """Everything that does not agree.

    `allocations` are those of the guests that `unbooked` names; `client` are the words that start OpenStack's client.
    """
    found = [*_provider(node, provider)]
    found += [_flavor(change, flavors, client) for change in offers.changes(flavors, node.rates, node.nics)]
    if node.inventory is not None:
        found += _absent(node, provider)
        found += _healing(node, provider, flavors, allocations, client)
    return tuple(found)


def remains(provider: Provider, flavors: tuple[NovaFlavor, ...], client: tuple[str, ...]) -> tuple[Disagreement, ...]:
    """What is left of the accounting, in the order in which it is removed."""
    found = [_flavor(change, flavors, client) for change in offers.removals(flavors)]
    for consumer in sorted(provider.consumers):
        if RESOURCE_CLASS in provider.consumers[consumer]:
            words = [*client, *PROVIDER_WORDS, "allocation", "unset", consumer]
            words += ["--provider", provider.uuid, "--resource-class", RESOURCE_CLASS]
            booked = provider.consumers[consumer][RESOURCE_CLASS]
            found.append(
                Disagreement(subject=f"consumer {consumer}", sentence=f"books {booked} millicpu of the pool", command=shell_line(words))
            )
    if provider.inventory is not None:
        found.append(
            Disagreement(
                subject=_said(provider),
                sentence=f"has {RESOURCE_CLASS}: once nothing books it, remove the provider configuration file and restart nova-compute",
            )
        )
    if OVERHEAD_POOL in provider.traits:
        found.append(_trait_left(provider, client))
    return tuple(found)


def _trait_left(provider: Provider, client: tuple[str, ...]) -> Disagreement:
    """The trait that Nova leaves on a provider. As long as the file is there, nova-compute adds it again, so there is no command yet."""
    sentence, command = f"has the trait {OVERHEAD_POOL}; it is removed after the file, because Nova leaves it there", ""
    if provider.inventory is None:
        rest = sorted(provider.traits - {OVERHEAD_POOL})
        words = [*client, *PROVIDER_WORDS, "trait", "set" if rest else "delete"]
        command = shell_line([*words, *(word for trait in rest for word in ("--trait", trait)), provider.uuid])
    return Disagreement(subject=_said(provider), sentence=sentence, command=command)


def _provider(node: Node, provider: Provider) -> list[Disagreement]:
    wanted, found, said = node.inventory, provider.inventory, _said(provider)
    if wanted is None:
        held = [RESOURCE_CLASS] * (found is not None) + [OVERHEAD_POOL] * (OVERHEAD_POOL in provider.traits)
        sentence = f"has {' and '.join(held)}, but this node has no overhead pool ([compute] cpu_shared_set); remove it from Nova"
        return [Disagreement(subject=said, sentence=sentence)] if held else []
    write = "write the provider configuration file and restart nova-compute"
    lacking: list[Disagreement] = []
    if found is None:
        lacking.append(Disagreement(subject=said, sentence=f"has no {RESOURCE_CLASS}, this node has {wanted['total']:g} millicpu; {write}"))
    elif wrong := [name for name in FIELDS if not _same(found.get(name), wanted[name])]:
        differs = ", ".join(f"{name} {found.get(name, 0):g} in place of {wanted[name]:g}" for name in wrong)
        lacking.append(Disagreement(subject=said, sentence=f"has {RESOURCE_CLASS} with {differs}; {write}"))
    if OVERHEAD_POOL not in provider.traits:
        lacking.append(Disagreement(subject=said, sentence=f"lacks the trait {OVERHEAD_POOL}; {write}"))
    return lacking


def _same(found: float | None, wanted: float) -> bool:
    """Whether two numbers are equal as Placement keeps them: a database may hold a ratio with seven digits only."""
    return found is not None and abs(found - wanted) <= abs(wanted) * 1e-6


def _flavor(change: offers.FlavorChange, flavors: tuple[NovaFlavor, ...], client: tuple[str, ...]) -> Disagreement:
    return Disagreement(subject=f"flavor {change.flavor.name}", sentence=change.why, command=offers.command(change, flavors, client))


def _absent(node: Node, provider: Provider) -> list[Disagreement]:
    """The guests that Placement knows nothing of on this provider."""
    return [
        Disagreement(
            subject=_guest(guest),
            sentence=f"has no allocation of {_said(provider)}: look again if it is migrating, else Nova must make one before it can "
            "book overhead",
        )
        for guest in _by_name(node.guests)
        if guest.id not in provider.consumers
    ]


def _healing(
    node: Node, provider: Provider, flavors: tuple[NovaFlavor, ...], allocations: Mapping[str, Allocation], client: tuple[str, ...]
) -> list[Disagreement]:
    """The guests that book nothing, with the command that books for each while the pool has room."""
    room = None
    if provider.inventory is not None:
        used = sum(consumed.get(RESOURCE_CLASS, 0) for consumed in provider.consumers.values())
        room = (provider.inventory["total"] - provider.inventory["reserved"]) * provider.inventory["allocation_ratio"] - used
    found = []
    for guest in unbooked(node, provider):
        wanted = offers.millicpu_of(_flavor_of(guest, flavors), node.rates, node.nics)
        sentence, command = f"has policy share and books nothing; it needs {wanted} millicpu", ""
        if room is None:
            sentence += ", which can be booked once Placement has the inventory"
        elif wanted > room:
            sentence += f", the pool has {room:g} free; migrate it or enlarge the pool"
        elif guest.id not in allocations:
            sentence += "; its allocation has just gone, so look again"
        else:
            room -= wanted
            command = _heal(guest.id, allocations[guest.id], provider.uuid, wanted, client)
        found.append(Disagreement(subject=_guest(guest), sentence=sentence, command=command))
    return found


def _flavor_of(guest: Guest, flavors: tuple[NovaFlavor, ...]) -> NovaFlavor:
    """The guest's flavor as the cloud has it, or as far as the guest tells it: with one disk, if the cloud has it no longer."""
    same = (flavor for flavor in flavors if flavor.name == guest.flavor and flavor.vcpus == guest.vcpus)
    return next(same, NovaFlavor(id="", name=guest.flavor, vcpus=guest.vcpus))


def _heal(consumer: str, held: Allocation, provider: str, millicpu: int, client: tuple[str, ...]) -> str:
    """The command that writes the consumer's whole allocation anew, with the millicpu of the provider added."""
    words = [*client, *PROVIDER_WORDS, "allocation", "set", consumer]
    for uuid in sorted(held.providers):
        resources = dict(held.providers[uuid]) | ({RESOURCE_CLASS: millicpu} if uuid == provider else {})
        words += ["--allocation", ",".join([f"rp={uuid}", *(f"{name}={resources[name]}" for name in sorted(resources))])]
    return shell_line([*words, "--project-id", held.project, "--user-id", held.user])


def _by_name(guests: tuple[Guest, ...]) -> list[Guest]:
    return sorted(guests, key=lambda guest: (guest.name, guest.id))


def _said(provider: Provider) -> str:
    return f"provider {provider.name}"


def _guest(guest: Guest) -> str:
    return f"guest {guest.name} ({guest.id})"
