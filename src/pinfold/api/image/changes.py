"""Make, change and remove variants of images in the image API v2. Images of the directory are the operator's, and stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Body, Request, Response
from starlette.requests import ClientDisconnect

from pinfold.api.caller import Caller, caller_of
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.image.bodies import EARLIER_PATCH_TYPE, PATCH_TYPE, NewImage, Operation, new_variant, patched, read_patch
from pinfold.api.image.catalog import CatalogImage, read_catalog
from pinfold.api.image.comparison import PIECE, Comparison
from pinfold.api.image.routes import BYTES, ImageShown, view
from pinfold.api.image.variants import own_variant, refuse_protected, shown_variant, unchanged_file
from pinfold.api.protocol import room_of
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.core.errors import Conflict, InvalidRequest

router = Router(prefix="/image", tags=["images"])

_BYTES_TYPE: Final = "application/octet-stream"
_PATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"op": {"enum": ["add", "replace", "remove"]}, "path": {"type": "string"}, "value": {}},
        "required": ["op", "path"],
    },
}
_PATCH: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {PATCH_TYPE: {"schema": _PATCH_SCHEMA}}}}
_UPLOAD: Final[dict[str, Any]] = {"requestBody": {"required": True, **BYTES}}


@router.post("/v2/images", status_code=201)
def create_image(body: Annotated[NewImage, Body()], request: Request, services: Services) -> ImageShown:
    """Make a variant: an image of the caller's project with properties of its own. It waits for the bytes of an image of the operator's."""
    made = services.fleet.image_variants.add(new_variant(body, caller_of(request), str(uuid.uuid4())))
    return view(shown_variant(services, made))


@router.put("/v2/images/{image_id}/file", status_code=204, response_class=Response, openapi_extra=_UPLOAD)
async def upload_image(image_id: str, request: Request, services: Services) -> Response:
    """Take the bytes of an image of the operator's for a variant that waits for its file. They are compared with the files of the
    directory, and not kept. After other bytes the image still waits.
    """
    possible = await in_thread(_possible, services, caller_of(request), image_id)
    _need_type(request, _BYTES_TYPE)
    comparison = Comparison(possible)
    try:
        await _compare(request, comparison, most=max((image.size for image in possible), default=0))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    await in_thread(_take, services, image_id, comparison)
    return Response(status_code=204)


@router.patch("/v2/images/{image_id}", openapi_extra=_PATCH)
async def update_image(image_id: str, request: Request, services: Services) -> ImageShown:
    """Add, replace and remove properties of a variant, and replace its name, visibility, protection and least sizes."""
    caller = caller_of(request)
    await in_thread(own_variant, services, caller, image_id)
    kind = _need_type(request, PATCH_TYPE, EARLIER_PATCH_TYPE)
    operations = read_patch(await request.body(), kind)
    return await in_thread(_update, services, caller, image_id, operations)


@router.delete("/v2/images/{image_id}", status_code=204, response_class=Response)
def delete_image(image_id: str, request: Request, services: Services) -> Response:
    """Delete a variant. Its servers keep what they were made with, and their disks."""
    delete_variant(services, caller_of(request), image_id)
    return Response(status_code=204)


def delete_variant(services: ApiServices, caller: Caller, image_id: str) -> None:
    """Delete a variant. Raises as `own_variant`, and `ApiError` 403 for a protected one."""
    own_variant(services, caller, image_id)
    services.fleet.image_variants.remove(image_id, refuse_protected)


def _possible(services: ApiServices, caller: Caller, image_id: str) -> tuple[CatalogImage, ...]:
    """The images of the operator's whose file the variant may get."""
    variant = own_variant(services, caller, image_id)
    if variant.status != "queued":
        raise Conflict(f"Image {image_id} has its file already; make another image for another file.")
    return tuple(image for image in read_catalog(services.images) if image.disk_format == variant.disk_format)


async def _compare(request: Request, comparison: Comparison, *, most: int) -> None:
    """Compare the request's body. It is read to its end after the first difference, too: many clients read no response before.

    Raises `ApiError` 413 if it is larger than `most`.
    """
    room_of(request).raise_to(most)
    piece = bytearray()
    async for some in request.stream():
        piece += some
        if comparison.size + len(piece) > most:
            raise ApiError(
                413,
                f"The file is larger than every image of the operator's in this format, of which the largest has {most} bytes; only the "
                "bytes of such an image are accepted.",
                headers={"Connection": "close"},
            )
        if len(piece) >= PIECE:
            await in_thread(comparison.add, bytes(piece))
            piece.clear()
    await in_thread(comparison.add, bytes(piece))


def _take(services: ApiServices, image_id: str, comparison: Comparison) -> None:
    found = comparison.equal()
    if found is None:
        raise InvalidRequest(
            f"the {comparison.size} bytes are no image of the operator's in this format, and only the bytes of such an image are accepted; "
            "the image is still queued"
        )
    services.fleet.image_variants.set_base(image_id, unchanged_file(services, found).name)


def _update(services: ApiServices, caller: Caller, image_id: str, operations: Sequence[Operation]) -> ImageShown:
    changed = services.fleet.image_variants.change(image_id, lambda variant: patched(variant, operations, caller))
    return view(shown_variant(services, changed))


def _need_type(request: Request, *allowed: str) -> str:
    """The type of the body. Raises `ApiError` 415 for another one than those."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        raise ApiError(415, f"Unsupported Content-Type: the body must be {' or '.join(allowed)}.")
    return given
