"""The image API v2, as far as it reads: versions, list, show, download, schema. `changes` makes and changes variants."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NotRequired, cast, get_args
from urllib.parse import urlencode

from fastapi import Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of
from pinfold.api.compute.links import Limit, after_marker, sized
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage, ImageStatus
from pinfold.api.image.variants import refuse_deactivated, visible_image, visible_images
from pinfold.api.response_schema import Link, closed
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import listed

router = Router(prefix="/image", tags=["images"])


BYTES: Final[dict[str, Any]] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
"""The response that is a file."""


@closed
class ImageVersion(TypedDict):
    """A version of the image API."""

    id: str
    status: str
    links: list[Link]


@closed
class ImageVersions(TypedDict):
    """Every version."""

    versions: list[ImageVersion]


@with_config(ConfigDict(extra="allow", strict=True, json_schema_extra={"additionalProperties": {"type": "string"}}))
class ImageShown(TypedDict):
    """An image. Its other keys are its properties, each a text."""

    id: str
    name: str
    status: ImageStatus
    visibility: Literal["public", "private"]
    protected: bool
    os_hidden: bool
    disk_format: str
    container_format: str
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    owner: str | None
    min_disk: int
    min_ram: int
    tags: list[str]
    created_at: str
    updated_at: str
    self: str
    file: str
    schema: str


@closed
class ImageList(TypedDict):
    """A page of the images; `first` and `next` are paths below the API's address."""

    images: list[ImageShown]
    first: str
    schema: str
    next: NotRequired[str]


@closed
class ImageMember(TypedDict):
    """A project with which an image is shared."""

    image_id: str
    member_id: str
    status: str
    created_at: str
    updated_at: str
    schema: str


@closed
class ImageMembers(TypedDict):
    """Projects with which an image is shared: none."""

    members: list[ImageMember]
    schema: str


_SCHEMAS: Final[dict[str, Any]] = {"image": ImageShown, "images": ImageList, "member": ImageMember, "members": ImageMembers}
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"
_NAMES: Final = listed(tuple(_SCHEMAS))


@router.get("", include_in_schema=False, status_code=300)
@router.get("/", status_code=300)
@router.get("/versions", include_in_schema=False)
async def list_versions(request: Request) -> ImageVersions:
    """The only served version of the image API."""
    root = str(request.base_url).rstrip("/")
    return {"versions": [{"id": "v2.9", "status": "CURRENT", "links": [{"rel": "self", "href": f"{root}/image/v2/"}]}]}


SortKey = Literal["name", "created_at", "updated_at", "size", "id", "status", "disk_format", "container_format"]
Direction = Literal["asc", "desc"]


class ImageQuery(BaseModel):
    """The query parameters of a listing of images. Another one is a property that an image has with that value, as in Glance; what compares
    times is ignored.
    """

    limit: Limit = None
    marker: str | None = None
    id: str | None = None
    name: str | None = None
    status: str | None = None
    visibility: str | None = None
    disk_format: str | None = None
    owner: str | None = None
    tag: str | None = None
    protected: bool | None = None
    os_hidden: bool | None = None
    size_min: int | None = None
    size_max: int | None = None
    sort_key: list[SortKey] = Field(default_factory=list)
    sort_dir: list[Direction] = Field(default_factory=list)
    sort: str | None = None


_KNOWN: Final = frozenset({*ImageQuery.model_fields, "created_at", "updated_at", "member_status"})
"""Query parameters that name no property."""


@router.get("/v2/images")
def list_images(asked: Annotated[ImageQuery, Query()], request: Request, services: Services) -> ImageList:
    """The operator's images by name, then the variants by name, unless `sort` or `sort_key` gives another order. `name`, `id`, `status`,
    `visibility`, `owner` and others narrow the listing, and so does a property by its name; `in:A,B` names several.
    """
    others = [(key, value) for key, value in request.query_params.multi_items() if key not in _KNOWN]
    found = [image for image in visible_images(services, caller_of(request)) if _matches(image, asked, others)]
    for key, direction in reversed(_order(asked)):
        found.sort(key=lambda image: _rank(view(image)[key]), reverse=direction == "desc")
    shown = sized(after_marker(found, [image.id for image in found], asked.marker), asked.limit)
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "marker"]
    listing: ImageList = {"images": [view(image) for image in shown], "first": _page(query), "schema": "/v2/schemas/images"}
    if shown and shown[-1] is not found[-1]:
        listing["next"] = _page([*query, ("marker", shown[-1].id)])
    return listing


def _order(asked: ImageQuery) -> list[tuple[SortKey, str]]:
    """The keys to sort by with their directions, the first one first. Raises `InvalidRequest` for one that there is not."""
    if asked.sort is None:
        one_for_all = len(asked.sort_dir) == 1
        directions = asked.sort_dir * len(asked.sort_key) if one_for_all else [*asked.sort_dir, *["desc"] * len(asked.sort_key)]
        return list(zip(asked.sort_key, directions, strict=False))
    found: list[tuple[SortKey, str]] = []
    for text in asked.sort.split(","):
        key, _, direction = text.strip().partition(":")
        if key not in get_args(SortKey) or (direction or "desc") not in get_args(Direction):
            allowed = f"KEY:asc or KEY:desc with the keys {listed(get_args(SortKey))}"
            raise InvalidRequest(f"sort has {text[:64]!r}; {allowed} are allowed", key="sort")
        found.append((cast("SortKey", key), direction or "desc"))
    return found


def _rank(value: str | int | None) -> tuple[bool, str | int]:
    """What values of one field are sorted by: nothing comes first."""
    return (value is not None, value if value is not None else 0)


def _page(query: Sequence[tuple[str, str]]) -> str:
    """The path of a page of the images, below the API's address."""
    return f"/v2/images?{urlencode(query)}" if query else "/v2/images"


@router.get("/v2/images/{image_id}")
def show_image(image_id: str, request: Request, services: Services) -> ImageShown:
    """One image by its id; a name is no id."""
    return view(visible_image(services, caller_of(request), image_id))


@router.get(
    "/v2/images/{image_id}/file", response_class=FileResponse, responses={200: BYTES, 204: {"description": "There is no file yet."}}
)
def download_image(image_id: str, request: Request, services: Services) -> Response:
    """The image's bytes; 204 for a variant that waits for its file."""
    image = visible_image(services, caller_of(request), image_id)
    refuse_deactivated(image, 403)
    if not image.path:
        return Response(status_code=204)
    return FileResponse(image.path, media_type="application/octet-stream")


@router.get("/v2/images/{image_id}/members")
def list_members(image_id: str, request: Request, services: Services) -> ImageMembers:
    """Projects with which an image is shared: none, because an image is public or its project's."""
    visible_image(services, caller_of(request), image_id)
    return {"members": [], "schema": "/v2/schemas/members"}


@router.get("/v2/schemas/{noun}", responses={501: {}})
def show_schema(noun: str) -> dict[str, Any]:
    """The JSON schema of what this API answers: an image, a page of images, a member, the members. `schema` of an answer names its own."""
    if noun not in _SCHEMAS:
        raise ApiError(501, f"There is no schema of {noun[:64]} here; there are those of {_NAMES}.")
    return {"name": noun, **TypeAdapter(_SCHEMAS[noun]).json_schema()}


@router.api_route("/v2/{rest:path}", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
def change_nothing_else(rest: str, request: Request, services: Services) -> None:
    """Refuse changes of what images have not here: tags, members, locations, stages, imports. 404 for an image that is not there."""
    kind, slash, below = rest.partition("/")
    if kind != "images":
        raise ApiError(501, _nothing_else(kind))
    image_id, _, noun = below.partition("/")
    if slash:
        visible_image(services, caller_of(request), image_id)
    raise ApiError(501, f"{noun.partition('/')[0][:64] or 'that'} is no part of an image here; an image has a file, a name and properties.")


@router.get("/v2/{rest:path}", include_in_schema=False)
def show_nothing_else(rest: str, request: Request, services: Services) -> None:
    """Refuse what the image API of OpenStack has beside images: definitions of metadata, tasks, stores, imports. 404 for no id at all."""
    if rest == "images/":
        visible_image(services, caller_of(request), "")
    raise ApiError(501, _nothing_else(rest.partition("/")[0]))


def _nothing_else(noun: str) -> str:
    return f"{noun[:64]} is not part of this image service; it shows images, their files and members."


def view(image: CatalogImage) -> ImageShown:
    """An image in the image API v2, with its properties beside the fixed fields."""
    updated, ownership = image.modified.strftime(_MOMENT), image.ownership
    fixed: ImageShown = {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": "public" if ownership is None or ownership.public else "private",
        "protected": ownership is None or ownership.protected,
        "os_hidden": False,
        "disk_format": image.disk_format,
        "container_format": "bare",
        "size": image.size if image.path else None,
        "virtual_size": image.virtual_size,
        "checksum": None,
        "os_hash_algo": None,
        "os_hash_value": None,
        "owner": None if ownership is None else ownership.project,
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "tags": [],
        "created_at": updated if ownership is None else ownership.created.strftime(_MOMENT),
        "updated_at": updated,
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }
    return cast("ImageShown", {**dict(image.properties), **fixed})


def _matches(image: CatalogImage, asked: ImageQuery, others: Sequence[tuple[str, str]]) -> bool:
    """Whether an image has what is asked for, and these other keys with these values. No image has a tag, and none is hidden."""
    shown: dict[str, Any] = {**view(image)}
    wanted = {key: getattr(asked, key) for key in ("name", "id", "disk_format", "status", "visibility", "owner")}
    wanted["visibility"] = None if asked.visibility == "all" else asked.visibility
    size = shown["size"] or 0
    return (
        asked.tag is None
        and not asked.os_hidden
        and asked.protected in (None, shown["protected"])
        and (asked.size_min is None or size >= asked.size_min)
        and (asked.size_max is None or size <= asked.size_max)
        and all(value is None or _one_of(shown[key], value) for key, value in wanted.items())
        and all(key in shown and _one_of(str(shown[key]), value) for key, value in others)
    )


def _one_of(found: str | None, asked: str) -> bool:
    """Whether a value equals the requested one, or is in a list of Glance's `in:` operator.

    >>> _one_of("b", "in:a,b"), _one_of("b", 'in:"a,b",c'), _one_of("in", "in")
    (True, False, True)

    Raises `InvalidRequest` for a list that is none, such as one of two lines.
    """
    if not asked.startswith("in:"):
        return found == asked
    try:
        return found in next(csv.reader([asked.removeprefix("in:")]), [])
    except csv.Error as error:
        raise InvalidRequest(f"Unable to filter by {asked[:64]!r}: {error}; a list such as in:a,b is allowed") from error
