"""Nova's earlier routes to images: those of the image API, in Nova's words. They show images, and delete variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NotRequired

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of
from pinfold.api.compute.instants import instant, seconds_of
from pinfold.api.compute.links import ROOT, Limit, after_marker, base, links, next_page, sized
from pinfold.api.compute.proxies import until
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage, ImageStatus
from pinfold.api.image.changes import delete_variant
from pinfold.api.image.variants import visible_image, visible_images
from pinfold.api.response_schema import Link, closed
from pinfold.api.router import Router
from pinfold.core.errors import not_found

router = Router(prefix=ROOT, tags=["images"], responses={404: {}})

ProxyStatus = Literal["ACTIVE", "SAVING", "UNKNOWN"]
_ELSEWHERE: Final = "Images are at the image API, under /image/v2/images; `openstack image list` asks that one."
_METADATA_ELSEWHERE: Final = "The properties of images are changed at the image API; `openstack image set` and `unset` do so."
_STATES: Final[dict[ImageStatus, tuple[ProxyStatus, int]]] = {
    "active": ("ACTIVE", 100),
    "queued": ("SAVING", 25),
    "deactivated": ("UNKNOWN", 0),
}
"""By status of the image API, Nova's status and progress. Source: `nova.api.openstack.compute.views.images`."""
_IMAGES: Final = [until(35, _ELSEWHERE)]
_METADATA: Final = [until(38, _ELSEWHERE)]
_PROPERTY: Final = "property-"
_PROPERTIES: Final = {"server": "instance_uuid", "type": "image_type"}
"""By query parameter, the property of an image that must have its value."""


@closed
class AlternateLink(TypedDict):
    """The address of an image at the image API."""

    rel: str
    href: str
    type: str


class ImageInBrief(TypedDict):
    """The keys of an image that every listing has."""

    id: str
    name: str
    links: list[Link | AlternateLink]


@closed
class ImageNamed(ImageInBrief):
    """An image in brief."""


_Size = TypedDict("_Size", {"OS-EXT-IMG-SIZE:size": int})


@closed
class ImageInFull(ImageInBrief, _Size):
    """An image in full: GiB, MiB, its properties, and the size of its file in bytes."""

    status: ProxyStatus
    progress: int
    minDisk: int
    minRam: int
    created: str
    updated: str
    metadata: dict[str, str]


@closed
class ImagesNamed(TypedDict):
    """A page of the images in brief."""

    images: list[ImageNamed]
    images_links: NotRequired[list[Link]]


@closed
class ImagesInFull(TypedDict):
    """A page of the images in full."""

    images: list[ImageInFull]
    images_links: NotRequired[list[Link]]


@closed
class ImageAnswer(TypedDict):
    """One image."""

    image: ImageInFull


@closed
class ImageMetadata(TypedDict):
    """The properties of an image."""

    metadata: dict[str, str]


@closed
class ImageMetadataItem(TypedDict):
    """One property of an image."""

    meta: dict[str, str]


class ImagesQuery(BaseModel):
    """The query parameters of a listing. `property-KEY` keeps the images whose property KEY has that value."""

    limit: Limit = None
    marker: str | None = None
    name: str | None = None
    status: str | None = None
    server: str | None = None
    type: str | None = None
    least_ram: Annotated[int | None, Field(alias="minRam")] = None
    least_disk: Annotated[int | None, Field(alias="minDisk")] = None
    changes_since: Annotated[datetime | None, Field(alias="changes-since")] = None


Asked = Annotated[ImagesQuery, Query()]


@router.get("/images", dependencies=_IMAGES)
def list_images_in_brief(asked: Asked, request: Request, services: Services) -> ImagesNamed:
    """The images by name, in brief."""
    shown, more = _page(asked, request, services, "images")
    listing: ImagesNamed = {"images": [_brief(request, image) for image in shown]}
    if more:
        listing["images_links"] = more
    return listing


@router.get("/images/detail", dependencies=_IMAGES)
def list_images_in_full(asked: Asked, request: Request, services: Services) -> ImagesInFull:
    """The images by name, in full."""
    shown, more = _page(asked, request, services, "images/detail")
    listing: ImagesInFull = {"images": [_full(request, image) for image in shown]}
    if more:
        listing["images_links"] = more
    return listing


@router.get("/images/{image_id}", dependencies=_IMAGES)
def show_image_in_full(image_id: str, request: Request, services: Services) -> ImageAnswer:
    """One image by its id; a name is no id."""
    return {"image": _full(request, visible_image(services, caller_of(request), image_id))}


@router.get("/images/{image_id}/metadata", dependencies=_METADATA)
def list_image_metadata(image_id: str, request: Request, services: Services) -> ImageMetadata:
    """The properties of an image."""
    return {"metadata": dict(visible_image(services, caller_of(request), image_id).properties)}


@router.get("/images/{image_id}/metadata/{key}", dependencies=_METADATA)
def show_image_metadata_item(image_id: str, key: str, request: Request, services: Services) -> ImageMetadataItem:
    """One property of an image."""
    found = dict(visible_image(services, caller_of(request), image_id).properties)
    if key not in found:
        raise not_found("Image property", key)
    return {"meta": {key: found[key]}}


@router.delete("/images/{image_id}", status_code=204, response_class=Response, dependencies=_IMAGES)
def delete_image(image_id: str, request: Request, services: Services) -> Response:
    """Delete a variant."""
    delete_variant(services, caller_of(request), image_id)
    return Response(status_code=204)


@router.api_route("/images/{image_id}/metadata", methods=["POST", "PUT"], dependencies=_METADATA, include_in_schema=False)
@router.api_route("/images/{image_id}/metadata/{key}", methods=["DELETE", "PUT"], dependencies=_METADATA, include_in_schema=False)
def keep_metadata(image_id: str, request: Request, services: Services) -> None:
    """Refuse to change the properties of an image that is there."""
    visible_image(services, caller_of(request), image_id)
    raise ApiError(501, _METADATA_ELSEWHERE)


def _page(asked: ImagesQuery, request: Request, services: ApiServices, noun: str) -> tuple[Sequence[CatalogImage], list[Link]]:
    """One page of the wanted images, and the link to the next page."""
    due = {name.removeprefix(_PROPERTY): value for name, value in request.query_params.items() if name.startswith(_PROPERTY)}
    due |= {name: value for key, name in _PROPERTIES.items() if (value := getattr(asked, key)) is not None}
    found = [image for image in visible_images(services, caller_of(request)) if _matches(image, asked, due)]
    shown = sized(after_marker(found, [image.id for image in found], asked.marker), asked.limit)
    more = next_page(request, noun, shown, asked.limit, shown[-1].id if shown else None)
    return shown, more


def _matches(image: CatalogImage, asked: ImagesQuery, due: Mapping[str, str]) -> bool:
    pairs: tuple[tuple[Any, Any], ...] = (
        (asked.name, image.name),
        (None if asked.status is None else asked.status.upper(), _STATES[image.status][0]),
        (asked.least_ram, image.min_ram_mib),
        (asked.least_disk, image.min_disk_gib),
    )
    properties = dict(image.properties)
    return (
        all(wanted in (None, there) for wanted, there in pairs)
        and all(properties.get(name) == value for name, value in due.items())
        and (asked.changes_since is None or image.modified.timestamp() >= seconds_of(asked.changes_since))
    )


def _brief(request: Request, image: CatalogImage) -> ImageNamed:
    there = f"{base(request)}/image/v2/images/{image.id}"
    alternate: AlternateLink = {"rel": "alternate", "type": "application/vnd.openstack.image", "href": there}
    return {"id": image.id, "name": image.name, "links": [*links(request, "images", image.id), alternate]}


def _full(request: Request, image: CatalogImage) -> ImageInFull:
    updated, (status, progress) = image.modified, _STATES[image.status]
    created = updated if image.ownership is None else image.ownership.created
    return {
        **_brief(request, image),
        "status": status,
        "progress": progress,
        "minDisk": image.min_disk_gib,
        "minRam": image.min_ram_mib,
        "created": instant(created.timestamp()),
        "updated": instant(updated.timestamp()),
        "metadata": dict(image.properties),
        "OS-EXT-IMG-SIZE:size": image.size,
    }
