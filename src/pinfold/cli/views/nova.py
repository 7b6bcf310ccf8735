"""The screen and the document of `nova check`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from pinfold.core.nova.accounting import Disagreement, Node, Provider
from pinfold.core.overhead import RESOURCE_CLASS
from pinfold.core.plural import count


def check_view(node: Node, provider: Provider, found: Sequence[Disagreement], *, removal: bool) -> list[RenderableType]:
    """One line for each difference, its command below it on one line so that it can be copied, and the sum. Pure."""
    lines: list[RenderableType] = []
    for one in found:
        lines.append(Text.assemble(("✗ ", "bold red"), (one.subject, "bold"), f" {one.sentence}"))
        if one.command:
            lines.append(Text.assemble(("  repair: ", "dim"), (one.command, "bold"), no_wrap=True))
    if found:
        words = "left to remove" if removal else "not as it should be"
        return [*lines, Text.assemble(("✗ ", "bold red"), f"{count(len(found), 'thing')} {words}")]
    if removal:
        return [Text.assemble(("✓ ", "bold green"), f"nothing books overhead on {provider.name}, and no flavor asks for it")]
    return [Text.assemble(("✓ ", "bold green"), f"node, Placement and flavors agree: {_pool(node, provider)}")]


def check_document(node: Node, provider: Provider, found: Sequence[Disagreement]) -> dict[str, object]:
    """The node's pool, what of it is booked, its guests with policy share, and every difference with its command, '' for none."""
    return {
        "provider": {"uuid": provider.uuid, "name": provider.name},
        "total": None if node.inventory is None else int(node.inventory["total"]),
        "booked": _booked(provider),
        "guests": [{"id": guest.id, "name": guest.name, "flavor": guest.flavor} for guest in node.guests],
        "disagreements": [{"subject": one.subject, "sentence": one.sentence, "command": one.command} for one in found],
    }


def _pool(node: Node, provider: Provider) -> str:
    if node.inventory is None:
        return f"{provider.name} has no overhead pool"
    return f"{provider.name} has {node.inventory['total']:g} millicpu, {_booked(provider)} booked, {count(len(node.guests), 'guest')}"


def _booked(provider: Provider) -> int:
    return sum(consumed.get(RESOURCE_CLASS, 0) for consumed in provider.consumers.values())
