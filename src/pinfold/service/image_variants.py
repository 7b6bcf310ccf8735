"""`ImageVariants`: make, change and remove variants of images. Who may do so is decided by the API."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from msgspec.structs import replace

from pinfold.core.bounds import MAX_IMAGE_VARIANTS
from pinfold.core.errors import Conflict, LimitReached, not_found
from pinfold.store import image_variants
from pinfold.store.database import Database
from pinfold.store.image_variants import ImageVariant


class ImageVariants:
    """The variants of images of all projects. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: ImageVariant) -> ImageVariant:
        """Store a variant that waits for its file. Raises `LimitReached` if its project has as many as it may."""
        with self._database.write() as connection:
            if image_variants.count(connection, new.project) >= MAX_IMAGE_VARIANTS:
                raise LimitReached(f"Quota exceeded for images: the project has {MAX_IMAGE_VARIANTS}, which is the most; delete one.")
            return image_variants.create(connection, new)

    def visible(self, project: str | None) -> tuple[ImageVariant, ...]:
        """The public variants and those of a project, or all for None, ordered by name and id."""
        with self._database.read() as connection:
            return image_variants.visible(connection, project)

    def find(self, variant_id: str) -> ImageVariant | None:
        """The variant of that id, or None."""
        with self._database.read() as connection:
            return image_variants.find(connection, variant_id)

    def change(self, variant_id: str, change: Callable[[ImageVariant], ImageVariant]) -> ImageVariant:
        """Store what `change` makes of a variant. Raises `NotFound`, and what `change` raises."""
        with self._database.write() as connection:
            return image_variants.change(connection, change(_held(connection, variant_id)))

    def set_base(self, variant_id: str, base: str) -> ImageVariant:
        """Give a variant the file of the operator's image of that name. Raises `NotFound`, and `Conflict` if it has a file."""
        with self._database.write() as connection:
            refuse_second_file(_held(connection, variant_id))
            return image_variants.set_base(connection, variant_id, base)

    def remove(self, variant_id: str, check: Callable[[ImageVariant], None]) -> None:
        """Delete a variant; servers keep what they were made with. Raises `NotFound`, and what `check` raises."""
        with self._database.write() as connection:
            check(_held(connection, variant_id))
            image_variants.remove(connection, variant_id)


def refuse_second_file(variant: ImageVariant) -> None:
    """Raise `Conflict` if a variant has its file."""
    if variant.base:
        raise Conflict(f"Image {variant.id} has its file already; make another image for another file.")


def with_properties(variant: ImageVariant, properties: dict[str, str]) -> ImageVariant:
    """The variant with these properties, ordered by key."""
    return replace(variant, properties=tuple(sorted(properties.items())))


def _held(connection: sa.Connection, variant_id: str) -> ImageVariant:
    found = image_variants.find(connection, variant_id, hold=True)
    if found is None:
        raise not_found("Image", variant_id)
    return found
