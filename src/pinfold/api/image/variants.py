"""The images that a caller sees: the operator's, and the variants of images that projects have made.

A variant is an image with an id, a name and properties of its own, and the file of an operator's image. It keeps the name of that image,
so it has whatever file is there under the name. Without one of its disk format it is deactivated.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage, Ownership, find_image, image_id, read_catalog
from pinfold.core.errors import Conflict, not_found
from pinfold.store.image_variants import ImageVariant

_SUFFIXES: Final = {"raw": ".raw", "qcow2": ".qcow2", "aki": ".kernel"}
"""By disk format, the suffix of a variant that has no file."""


def visible_images(services: ApiServices, caller: Caller) -> tuple[CatalogImage, ...]:
    """The operator's images by name, then the variants that the caller sees by name."""
    ours = read_catalog(services.images)
    named = {image.name: image for image in ours}
    variants = services.fleet.image_variants.visible(None if caller.everywhere else caller.project)
    return (*ours, *(_shown(variant, named.get(variant.base)) for variant in variants))


def visible_image(services: ApiServices, caller: Caller, wanted: str) -> CatalogImage:
    """The image of that id. Raises `NotFound` if there is none that the caller sees."""
    found = find_image(services.images, wanted)
    if found is not None:
        return found
    variant = services.fleet.image_variants.find(wanted)
    if variant is None or not (variant.public or caller.sees(variant.project)):
        raise not_found("Image", wanted or "without an id")
    return shown_variant(services, variant)


def shown_variant(services: ApiServices, variant: ImageVariant) -> CatalogImage:
    """A variant as an image."""
    return _shown(variant, find_image(services.images, image_id(variant.base)))


def refuse_without_file(image: CatalogImage) -> None:
    """Raise `ApiError` 400 for a variant that has no file."""
    if image.status == "queued":
        raise ApiError(400, f"Image {image.id} is queued: it has no file yet; upload the bytes of an image of the operator's.")
    refuse_deactivated(image, 400)


def refuse_deactivated(image: CatalogImage, status: int) -> None:
    """Raise `ApiError` with this status for a variant whose file has gone."""
    if image.status == "deactivated":
        assert image.ownership is not None
        missing = f"the operator's image {image.ownership.base}, whose file it has, is no longer there in the format {image.disk_format}"
        raise ApiError(status, f"Image {image.id} is deactivated: {missing}.")


def own_variant(services: ApiServices, caller: Caller, wanted: str) -> CatalogImage:
    """The variant of that id, which the caller may change.

    Raises `NotFound` if the caller sees no such image, `ApiError` 403 for an image of the operator's and for a variant of another project.
    """
    image = visible_image(services, caller, wanted)
    if image.ownership is None:
        raise ApiError(
            403,
            f"Image {image.name} is the operator's: its file and its property file are in the image directory, and change there. "
            "For other properties, make an image of your own from its file.",
        )
    if not caller.admin and caller.project != image.ownership.project:
        raise ApiError(403, f"Image {wanted} belongs to another project, which alone may change it.")
    return image


def refuse_protected(variant: ImageVariant) -> None:
    """Raise `ApiError` 403 for a variant that is protected from being deleted."""
    if variant.protected:
        raise ApiError(403, f"Image {variant.id} is protected and cannot be deleted; set protected to false first.")


def unchanged_file(services: ApiServices, image: CatalogImage) -> CatalogImage:
    """The operator's image as it is now. Raises `Conflict` if its file is another one than it was."""
    now = find_image(services.images, image.id)
    if now is None or (now.path, now.size, now.modified) != (image.path, image.size, image.modified):
        raise Conflict(f"The file of the operator's image {image.name} has changed during the upload; upload it again.")
    return now


def _shown(variant: ImageVariant, base: CatalogImage | None) -> CatalogImage:
    """A variant with the file of its base; without one if there is none of its format."""
    if base is not None and base.disk_format != variant.disk_format:
        base = None
    return CatalogImage(
        id=variant.id,
        name=variant.name,
        path="" if base is None else base.path,
        suffix=_SUFFIXES[variant.disk_format] if base is None else base.suffix,
        size=0 if base is None else base.size,
        virtual_size=None if base is None else base.virtual_size,
        modified=datetime.fromtimestamp(variant.updated, tz=UTC),
        min_disk_gib=variant.min_disk_gib,
        min_ram_mib=variant.min_ram_mib,
        properties=variant.properties,
        ownership=Ownership(
            project=variant.project,
            public=variant.public,
            protected=variant.protected,
            base=variant.base,
            created=datetime.fromtimestamp(variant.created, tz=UTC),
        ),
    )
