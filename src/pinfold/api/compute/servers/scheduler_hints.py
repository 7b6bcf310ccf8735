"""The scheduler hints of a create. `same_host` is kept: the server goes to the host of the named ones, or to none."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request

from pinfold.api.caller import caller_of
from pinfold.api.compute.servers.bodies import CreateServer
from pinfold.api.compute.servers.single import visible
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.core.errors import InvalidRequest, NotFound
from pinfold.core.identity import GuestId, HostId

_SAME: Final = "same_host"
_MOST: Final = 64


def host_of_hints(services: ApiServices, request: Request, body: CreateServer, only_on: str) -> str:
    """The id of the only allowed host: the one that the hints ask for, or without any, the given one. '' is any host.

    Raises `ApiError` 501 for hints that are not kept and for servers on several hosts, `InvalidRequest` for unknown servers, for servers
    without a host, and when another host is named as well.
    """
    hints = {**body.old_hints, **body.hints}
    for key in hints:
        if key != _SAME:
            raise ApiError(501, f"The scheduler hint {key[:64]} is not supported; use {_SAME}, name a host, or use aggregates and traits.")
    if _SAME not in hints:
        return only_on
    found = _hosts(services, request, _ids(hints[_SAME]))
    if len(found) > 1:
        raise ApiError(501, f"{_SAME} names servers on {len(found)} hosts; pinfold takes servers on one host alone.")
    (host,) = found
    if only_on not in ("", host):
        raise InvalidRequest(f"{_SAME} names a server on another host than the requested one", key=_SAME)
    return host


def _ids(value: Any) -> list[str]:
    ids = [value] if isinstance(value, str) else value
    if not isinstance(ids, list) or not 1 <= len(ids) <= _MOST or not all(isinstance(each, str) for each in ids):
        raise InvalidRequest(f"{_SAME} must be the id of a server, or a list of 1 to {_MOST} ids", key=_SAME)
    return ids


def _hosts(services: ApiServices, request: Request, ids: list[str]) -> frozenset[HostId]:
    found = set()
    with services.database.read() as connection:
        for each in ids:
            try:
                host = visible(connection, caller_of(request), GuestId(each)).host
            except NotFound as error:
                raise InvalidRequest(f"{_SAME}: {error}", key=_SAME) from error
            if host is None:
                raise InvalidRequest(f"{_SAME}: server {each} is on no host", key=_SAME)
            found.add(host)
    return frozenset(found)
