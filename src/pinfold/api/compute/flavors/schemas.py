"""Schemas of the Compute API's flavors, key by key. `view` fills them."""

from __future__ import annotations

from typing import Annotated, NotRequired

from typing_extensions import TypedDict

from pinfold.api.response_schema import Link, closed, since


@closed
class FlavorInBrief(TypedDict):
    """A flavor in a listing without detail."""

    id: str
    name: str
    links: list[Link]
    description: NotRequired[Annotated[str | None, since(55)]]


_Prefixed = TypedDict("_Prefixed", {"OS-FLV-EXT-DATA:ephemeral": int, "OS-FLV-DISABLED:disabled": bool, "os-flavor-access:is_public": bool})


@closed
class FlavorInFull(FlavorInBrief, _Prefixed):
    """A flavor in full. `swap` is '' for none before microversion 2.75."""

    ram: int
    disk: int
    vcpus: int
    swap: int | str
    rxtx_factor: float
    extra_specs: NotRequired[Annotated[dict[str, str], since(61)]]


@closed
class FlavorList(TypedDict):
    """Flavors in brief."""

    flavors: list[FlavorInBrief]
    flavors_links: NotRequired[list[Link]]


@closed
class FlavorListInFull(TypedDict):
    """Flavors in full."""

    flavors: list[FlavorInFull]
    flavors_links: NotRequired[list[Link]]


@closed
class FlavorShown(TypedDict):
    """One flavor."""

    flavor: FlavorInFull


@closed
class FlavorGrant(TypedDict):
    """A flavor and a project that may use it."""

    flavor_id: str
    tenant_id: str


@closed
class FlavorAccess(TypedDict):
    """Who may use a flavor that is not public, by project."""

    flavor_access: list[FlavorGrant]


@closed
class ExtraSpecsShown(TypedDict):
    """Extra specs by key."""

    extra_specs: dict[str, str]
