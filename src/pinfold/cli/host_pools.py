"""`pinfold host order-pools`: order the pools of a host through the service, and see whether its agent uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.output import respond
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

Name = Annotated[str, typer.Argument(metavar="HOST", help="The host's name.", autocompletion=completion.hosts)]
Shared = Annotated[str | None, typer.Option("--shared", metavar="CPUS", help="cpu_shared_set, as in 0-3,8; '' for none.")]
Dedicated = Annotated[str | None, typer.Option("--dedicated", metavar="CPUS", help="cpu_dedicated_set; '' for none.")]
Overhead = Annotated[str | None, typer.Option("--overhead", metavar="CPUS", help="cpu_overhead_set; the shared set if it is not given.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Let the host use the pools of its own files again.")]


def order_pools(
    name: Name,
    shared: Shared = None,
    dedicated: Dedicated = None,
    overhead: Overhead = None,
    withdraw: Withdraw = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Order the pools of a host of the service. Its agent keeps them in its configuration, and running guests follow without a restart.

    Without options, show what is ordered and what the agent uses.
    """
    from pinfold.cli.service import open_access, segment
    from pinfold.core.cpuset import CpuSet

    given = (shared, dedicated, overhead)
    orders = given != (None, None, None)
    if withdraw and orders:
        raise InvalidRequest("--withdraw orders no pools; leave --shared, --dedicated and --overhead out", key="--withdraw")
    if orders and (shared is None or dedicated is None):
        missing = "--shared" if shared is None else "--dedicated"
        raise InvalidRequest("an order names both sets: --shared and --dedicated, '' for none", key=missing)
    sets = {key: str(CpuSet.parse(text)) if text else None for key, text in zip(("shared", "dedicated", "overhead"), given, strict=True)}
    with open_access(config) as service:
        path = f"/v1/hosts/{segment(name)}/pools"
        answer = service.ask("DELETE", path) if withdraw else service.ask("PUT", path, sets) if orders else service.ask("GET", path)
    respond(answer, _lines(answer), as_json=as_json)


def _lines(answer: Mapping[str, Any]) -> list[str]:
    ordered, used = answer["ordered"], answer["used"]
    lines = [
        f"ordered: {'nothing; the pools of its own files' if ordered is None else _pools(ordered, 'the shared set')}",
        f"used:    {_pools(used, 'none')}",
    ]
    return [*lines, answer["refused"]] if answer["refused"] else lines


def _pools(sets: Mapping[str, Any], no_overhead: str) -> str:
    overhead = no_overhead if sets["overhead"] is None else sets["overhead"] or "none online"
    return f"shared {sets['shared'] or 'none'}, dedicated {sets['dedicated'] or 'none'}, overhead {overhead}"
