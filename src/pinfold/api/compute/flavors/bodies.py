"""What users send about flavors: bodies and query parameters."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from pinfold.api.compute.links import Limit
from pinfold.api.compute.names import Name
from pinfold.api.text_pattern import TextPattern
from pinfold.service.flavors import MOST_SPECS

_MAX_INT: Final = 0x7FFFFFFF
_TRUE: Final = frozenset({"true", "1", "on", "yes", "y", "t"})
_FALSE: Final = frozenset({"false", "0", "off", "no", "n", "f"})


def read_boolean(value: object) -> object:
    """A boolean, or a word that Nova accepts as one; everything else unchanged, so that it is refused."""
    word = value.lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else value


BooleanWord = Annotated[StrictBool, BeforeValidator(read_boolean)]
"""What Nova accepts as a boolean: JSON's own, and words such as "True" and "no", which some clients send."""
Count = Annotated[int, Field(ge=0, le=_MAX_INT)]
Positive = Annotated[int, Field(ge=1, le=_MAX_INT)]
FlavorId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(pattern=r"^[\w.\- ]+$", allowed="a flavor's id has letters, digits, blanks and _.- and nothing else"),
]


ProjectId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(pattern=r"^[a-zA-Z0-9-]*$", allowed="a project's id has letters, digits and - and nothing else"),
]


class _Closed(BaseModel):
    """A body without unknown keys. OpenStack's clients send some numbers as text, so numbers are read from text too."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class NewFlavor(_Closed):
    """The body of a create. `id` is the user's own, or made here when it is absent or `auto`."""

    name: Name
    ram: Positive
    vcpus: Positive
    disk: Count = 0
    id: FlavorId | Annotated[int, Field(ge=0, le=_MAX_INT)] | None = None
    swap: Count = 0
    ephemeral: Count = Field(default=0, alias="OS-FLV-EXT-DATA:ephemeral")
    rxtx_factor: Annotated[float, Field(gt=0, le=3.40282e38)] = 1.0
    is_public: BooleanWord = Field(default=True, alias="os-flavor-access:is_public")
    description: Annotated[str, Field(max_length=65535)] | None = None


class CreateFlavor(_Closed):
    """The envelope of a create."""

    flavor: NewFlavor


class FlavorChange(_Closed):
    """The changes to a flavor: its description."""

    description: Annotated[str, Field(max_length=65535)] | None


class UpdateFlavor(_Closed):
    """The envelope of an update."""

    flavor: FlavorChange


class ExtraSpecs(_Closed):
    """The body that adds extra specs."""

    extra_specs: Annotated[dict[str, str | int | float], Field(min_length=1, max_length=MOST_SPECS)]


class Tenant(_Closed):
    """A project, by its id."""

    tenant: ProjectId


class AccessChange(_Closed):
    """A flavor's action: grant access to a project, or remove it."""

    add: Tenant | None = Field(default=None, alias="addTenantAccess")
    remove: Tenant | None = Field(default=None, alias="removeTenantAccess")


class FlavorQuery(BaseModel):
    """The query parameters of a listing of flavors."""

    limit: Limit = None
    marker: str | None = None
    is_public: str | None = None
    least_ram: Annotated[int, Field(alias="minRam", ge=0)] = 0
    least_disk: Annotated[int, Field(alias="minDisk", ge=0)] = 0
    sort_key: Literal["flavorid", "id", "name", "memory_mb", "root_gb", "vcpus"] = "flavorid"
    sort_dir: Literal["asc", "desc"] = "asc"


Filters = Annotated[FlavorQuery, Query()]
