"""The Network API v2, as far as clients need it to name a network and to see a server's ports. It is read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Final, TypeVar, cast

from fastapi import Path, Request, Response

from pinfold.api.caller import Caller, caller_of, forbidden, need_everywhere
from pinfold.api.compute.links import after_marker, base, next_page, page_size, sized
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.network import views
from pinfold.api.network.schemas import (
    Extension,
    ExtensionAnswer,
    ExtensionList,
    NetworkAnswer,
    NetworkList,
    NetworkVersions,
    PortAnswer,
    PortList,
    PortShown,
    Quota,
    QuotaAnswer,
    QuotaInDetail,
    Resources,
    SecurityGroupList,
    SubnetAnswer,
    SubnetList,
)
from pinfold.api.response_schema import Link
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.store.ports import GuestPort, PortFilter

router = Router(prefix="/network", tags=["networks"])

_ROOT: Final = "/network/v2.0"
_COLLECTIONS: Final = (("network", "networks"), ("subnet", "subnets"), ("port", "ports"), ("security_group", "security-groups"))
_EXTENSIONS: Final[Mapping[str, Extension]] = {
    alias: {"alias": alias, "name": name, "description": words, "updated": "2014-01-01T10:00:00-00:00", "links": []}
    for alias, name, words in (
        ("binding", "Port Binding", "A port names the host of its server."),
        ("net-mtu", "Network MTU", "A network has an MTU."),
        ("provider", "Provider Network", "A network names the bridge or device of its hosts."),
        ("quotas", "Quota management support", "Quotas are shown."),
        ("quota_details", "Quota details management support", "Quotas are shown with what a project has."),
        ("security-group", "security-group", "There are no security groups."),
    )
}
_QUOTA: Final[Quota] = {
    "floatingip": 0,
    "network": 0,
    "port": -1,
    "rbac_policy": 0,
    "router": 0,
    "security_group": 0,
    "security_group_rule": 0,
    "subnet": 0,
    "subnetpool": 0,
}
_LIMITS: Final = cast("Mapping[str, int]", _QUOTA)
_READ_ONLY: Final = "Networks are read-only here: the hosts' networks files name them, and ports come with their servers."
_NO_GROUPS: Final = "pinfold has no security groups: filter packets in the guest, or on the operator's network."
_NO_FILTERS: Final = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})
_STATUSES: Final = frozenset({"ACTIVE", "DOWN"})
_IN_THE_DATABASE: Final = frozenset(
    {"id", "device_id", "project_id", "tenant_id", "network_id", "mac_address", "status", *views.ALIKE_IN_PORTS}
)
"""Filters of ports for which no port has to be looked at."""
Shown = TypeVar("Shown", bound=Mapping[str, object])


@router.get("", include_in_schema=False)
@router.get("/")
async def list_versions(request: Request) -> NetworkVersions:
    """The only served version of the Network API."""
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": f"{base(request)}{_ROOT}/"}]}]}


@router.get("/v2.0", include_in_schema=False)
@router.get("/v2.0/")
async def list_resources(request: Request) -> Resources:
    """What this version shows."""
    root = f"{base(request)}{_ROOT}"
    return {
        "resources": [
            {"name": name, "collection": collection, "links": [{"rel": "self", "href": f"{root}/{collection}"}]}
            for name, collection in _COLLECTIONS
        ]
    }


@router.get("/v2.0/networks")
def list_networks(request: Request, services: Services) -> NetworkList:
    """The networks that hosts offer, by name. A query parameter with the name of a key keeps those that have that value."""
    shown = _kept(request, [views.network(found) for found in services.fleet.networks.all()])
    listing: NetworkList = {"networks": shown}
    if more := _more(request, "networks", shown):
        listing["networks_links"] = more
    return listing


@router.get("/v2.0/networks/{network_id}")
def show_network(network_id: str, services: Services) -> NetworkAnswer:
    """One network by its id; a name is no id."""
    found = services.fleet.networks.find(network_id)
    if found is None:
        raise not_found("Network", network_id)
    return {"network": views.network(found)}


@router.get("/v2.0/subnets")
def list_subnets(request: Request, services: Services) -> SubnetList:
    """The static ranges of the networks that have one."""
    known = services.fleet.networks.all()
    shown = _kept(request, [views.subnet(found, found.static) for found in known if found.static is not None])
    listing: SubnetList = {"subnets": shown}
    if more := _more(request, "subnets", shown):
        listing["subnets_links"] = more
    return listing


@router.get("/v2.0/subnets/{subnet_id}")
def show_subnet(subnet_id: str, services: Services) -> SubnetAnswer:
    """One subnet by its id."""
    for found in services.fleet.networks.all():
        if found.static is not None and found.subnet == subnet_id:
            return {"subnet": views.subnet(found, found.static)}
    raise not_found("Subnet", subnet_id)


@router.get("/v2.0/ports")
def list_ports(request: Request, services: Services) -> PortList:
    """The ports of the servers that the caller sees. `device_id` keeps those of one server, `network_id` those on one network."""
    filters, size = _filters(request), page_size(_limit(request))
    statuses = filters.get("status", _STATUSES) & _STATUSES
    if not statuses or any(key in filters and not _is_one_of(value, filters[key]) for key, value in views.ALIKE_IN_PORTS.items()):
        return {"ports": []}
    left = {key: values for key, values in filters.items() if key not in _IN_THE_DATABASE}

    def keep(found: GuestPort) -> bool:
        return _matches(_port(request, found), left)

    wanted = _in_database(filters, statuses, caller_of(request), services)
    found = services.fleet.networks.ports(wanted, keep=keep if left else None, marker=request.query_params.get("marker"), limit=size)
    shown = [_port(request, one) for one in found]
    listing: PortList = {"ports": shown}
    if more := _more(request, "ports", shown):
        listing["ports_links"] = more
    return listing


@router.get("/v2.0/ports/{port_id}")
def show_port(port_id: str, request: Request, services: Services) -> PortAnswer:
    """One port by its id."""
    found = services.fleet.networks.port(port_id)
    if found is None or not caller_of(request).sees(found.project):
        raise not_found("Port", port_id)
    return {"port": _port(request, found)}


@router.get("/v2.0/security-groups")
def list_security_groups() -> SecurityGroupList:
    """No security groups: what a guest may send and receive is decided outside of pinfold."""
    return {"security_groups": []}


@router.get("/v2.0/security-groups/{group_id}", include_in_schema=False)
def show_security_group(group_id: str) -> None:
    """404: there are none."""
    raise not_found("Security group", group_id)


@router.get("/v2.0/extensions")
def list_extensions() -> ExtensionList:
    """The extensions of the API whose keys are shown."""
    return {"extensions": [_EXTENSIONS[alias] for alias in sorted(_EXTENSIONS)]}


@router.get("/v2.0/extensions/{alias}")
def show_extension(alias: str) -> ExtensionAnswer:
    """One extension."""
    if alias not in _EXTENSIONS:
        raise not_found("Extension", alias)
    return {"extension": _EXTENSIONS[alias]}


@router.get("/v2.0/quotas/{project_id}")
@router.get("/v2.0/quotas/{project_id}/default")
def show_quota(_project: Annotated[str, Path(alias="project_id")]) -> QuotaAnswer:
    """What a project may make here: nothing. Ports come with servers, without limit."""
    return {"quota": _QUOTA}


@router.get("/v2.0/quotas/{project_id}/details")
def show_quota_in_detail(project_id: str, request: Request, services: Services) -> QuotaInDetail:
    """The same with what the project has: the ports of its servers."""
    if not caller_of(request).sees(project_id):
        raise forbidden("get_quota")
    used = {"port": services.fleet.networks.count_ports(project_id)}
    return {"quota": {name: {"limit": limit, "used": used.get(name, 0), "reserved": 0} for name, limit in _LIMITS.items()}}


@router.delete("/v2.0/quotas/{project_id}", status_code=204)
def reset_quota(_project: Annotated[str, Path(alias="project_id")], request: Request) -> Response:
    """Nothing changes: every project has the default quota. Clients ask this when they delete the quotas of a project."""
    need_everywhere(request, "delete_quota")
    return Response(status_code=204)


@router.api_route("/v2.0/{kind}/{key}", methods=["PUT", "DELETE"], include_in_schema=False)
def refuse_change(kind: str, key: str, request: Request, services: Services) -> None:
    """Refuse to change or delete a network, subnet or port; 404 for one that is not there."""
    match kind:
        case "networks":
            show_network(key, services)
        case "subnets":
            show_subnet(key, services)
        case "ports":
            show_port(key, request, services)
        case "security-groups":
            show_security_group(key)
    raise _refusal(kind)


@router.api_route("/v2.0/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
def refuse_others(rest: str, request: Request) -> None:
    """Refuse changes: networks are named in the hosts' files, and ports come with servers. There are no routers or floating addresses."""
    raise _refusal(rest, reads=request.method == "GET")


def _refusal(rest: str, *, reads: bool = False) -> ApiError:
    """Why a path below the version is not served, or is not changed."""
    kinds = [collection for _, collection in _COLLECTIONS]
    noun = rest.partition("/")[0]
    if noun == "security-groups":
        return ApiError(501, _NO_GROUPS)
    if noun in (*kinds, "quotas") and not reads:
        return ApiError(501, _READ_ONLY)
    return ApiError(501, f"{rest[:64]} are not part of this network service; it shows {', '.join(kinds)}, extensions and quotas.")


def _port(request: Request, found: GuestPort) -> PortShown:
    """A port; without its host for who sees no hosts."""
    return views.port(found if caller_of(request).everywhere else found._replace(host=""))


def _in_database(filters: Mapping[str, set[str]], statuses: Set[str], caller: Caller, services: ApiServices) -> PortFilter:
    """The filters of ports that the database applies, and that the caller sees the ports' projects. Who sees no hosts finds `""` there."""

    def one_of(key: str) -> tuple[str, ...] | None:
        return tuple(sorted(filters[key])) if key in filters else None

    projects = [filters[key] for key in ("project_id", "tenant_id") if key in filters]
    if not caller.everywhere:
        projects.append({caller.project})
    networks = one_of("network_id")
    if networks is not None:
        named = services.fleet.networks.ids_in_use()
        networks = tuple([named[each] for each in networks if each in named])
    return PortFilter(
        ids=one_of("id"),
        guests=one_of("device_id"),
        projects=tuple(sorted(set.intersection(*projects))) if projects else None,
        networks=networks,
        macs=one_of("mac_address"),
        hosts=one_of("binding:host_id") if caller.everywhere else None,
        active=None if statuses == _STATUSES else "ACTIVE" in statuses,
    )


def _kept(request: Request, shown: Sequence[Shown]) -> list[Shown]:
    """The page of those that match every filter of the query.

    Raises `InvalidRequest` for a `limit` that is no number, and for a `marker` that matches nothing.
    """
    filters = _filters(request)
    found = [one for one in shown if _matches(one, filters)]
    rest = after_marker(found, [str(one["id"]) for one in found], request.query_params.get("marker"))
    return list(sized(rest, _limit(request)))


def _filters(request: Request) -> dict[str, set[str]]:
    """The values that are asked for, by key."""
    query = request.query_params
    return {key: set(query.getlist(key)) for key in query if key not in _NO_FILTERS}


def _limit(request: Request) -> int | None:
    """How many are asked for; None for as many as a page has, which is also what 0 means to Neutron. Raises `InvalidRequest`."""
    limit = request.query_params.get("limit", "")
    if limit and not (limit.isascii() and limit.isdigit()):
        raise InvalidRequest(f"limit is {limit[:64]!r}; a whole number is allowed", key="limit")
    return int(limit[:9] or 0) or None


def _more(request: Request, noun: str, shown: Sequence[Mapping[str, object]]) -> list[Link]:
    """The link to the next page, if this one is full."""
    return next_page(request, noun, shown, _limit(request), str(shown[-1]["id"]) if shown else None, root=_ROOT)


def _matches(shown: Mapping[str, object], filters: Mapping[str, set[str]]) -> bool:
    """Whether what is shown matches every filter. A filter that names no key keeps all, as in Neutron."""
    return all(
        key not in shown or (_has_address(shown[key], values) if key == "fixed_ips" else _is_one_of(shown[key], values))
        for key, values in filters.items()
    )


def _has_address(addresses: object, texts: set[str]) -> bool:
    """Whether one of a port's addresses has a wanted value of each key that the texts name, such as `ip_address=192.0.2.10`, or for
    `ip_address_substr` a part of it. Raises `InvalidRequest` for a text that names no key.
    """
    wanted: dict[str, set[str]] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise InvalidRequest(f"fixed_ips is {text[:64]!r}; KEY=VALUE such as ip_address=192.0.2.10 is allowed", key="fixed_ips")
        wanted.setdefault(key, set()).add(value)
    parts = wanted.pop("ip_address_substr", {""})
    return any(
        all(str(one.get(key)) in values for key, values in wanted.items()) and any(part in str(one["ip_address"]) for part in parts)
        for one in cast("list[dict[str, object]]", addresses)
    )


def _is_one_of(value: object, texts: set[str]) -> bool:
    if isinstance(value, bool):
        return str(value).lower() in {text.lower() for text in texts}
    return str(value) in texts
