"""The pools of a host in `/v1`: order them for its agent, and see whether it uses them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body
from msgspec import Struct

from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.v1.hosts import find
from pinfold.core.encoding import plain, reader
from pinfold.core.pools import PoolOrder, Pools
from pinfold.store import hosts
from pinfold.store.records import POOLS_REFUSED

router = Router(prefix="/v1/hosts/{name}/pools", tags=["hosts"])

_read_order = reader(PoolOrder)


class HostPools(Struct, frozen=True, kw_only=True):
    """The ordered pools of a host, None if its agent uses those of its own files, and the online pCPUs of those that it uses.

    `refused` says why the agent does not use the ordered ones, '' if it does or has not said.
    """

    host: str
    ordered: PoolOrder | None
    used: Pools
    refused: str


PoolOrderBody = Annotated[dict[str, Any], Body(), written_as(PoolOrder)]
HostPoolsAnswer = Annotated[dict[str, Any], written_as(HostPools)]


@router.get("")
def show_pools(name: str, services: Services) -> HostPoolsAnswer:
    """The pools that are ordered for a host, and those that its agent uses."""
    return _shown(services, name)


@router.put("")
def order_pools(name: str, body: PoolOrderBody, services: Services) -> HostPoolsAnswer:
    """Order pools for a host, as cpulists; null for no such pool. Its agent keeps them in its configuration, and running guests follow.

    409 while the agent has not reported the host.
    """
    services.fleet.hosts.order_pools(find(services, name).id, _read_order(body, "pools"))
    return _shown(services, name)


@router.delete("")
def withdraw_pools(name: str, services: Services) -> HostPoolsAnswer:
    """Let the agent of a host use the pools of its own files again."""
    services.fleet.hosts.order_pools(find(services, name).id, None)
    return _shown(services, name)


def _shown(services: ApiServices, name: str) -> HostPoolsAnswer:
    host = find(services, name)
    with services.database.read() as connection:
        ordered = hosts.pool_order(connection, host.id)
    refused = dict(host.report.facts).get(POOLS_REFUSED, "")
    shown: HostPoolsAnswer = plain(HostPools(host=host.name, ordered=ordered, used=host.report.pools, refused=refused))
    return shown
