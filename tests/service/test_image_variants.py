"""Variants of images on real databases: the bound holds among many creates at once, and two uploads give one file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace
from tests.rig.databases import database, postgresql, postgresql_url, sqlite_file

from pinfold.core.errors import Conflict, LimitReached, NotFound
from pinfold.service import image_variants
from pinfold.service.image_variants import ImageVariants
from pinfold.store.database import Database
from pinfold.store.image_variants import ImageVariant

__all__ = ["database", "postgresql", "postgresql_url", "sqlite_file"]


def variant(number: int, project: str = "red", **more: Any) -> ImageVariant:
    return ImageVariant(id=f"id{number}", project=project, name=f"v{number}", **more)


def outcomes(count: int, step: Callable[[int], Any]) -> list[str]:
    """The names of what so many calls at once return or raise."""

    def outcome(number: int) -> str:
        try:
            return type(step(number)).__name__
        except (Conflict, LimitReached) as error:
            return type(error).__name__

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(outcome, range(count)))


def test_a_variant_is_kept_changed_and_removed(database: Database) -> None:
    variants = ImageVariants(database)
    made = variants.add(variant(1, properties=(("a", "1"), ("b", "2")), min_ram_mib=64))
    assert made == variants.find("id1") and made.created > 0 and made.base == ""
    changed = variants.change("id1", lambda found: replace(found, name="new", properties=(("b", "3"),), protected=True))
    assert (changed.name, changed.properties, changed.protected, changed.min_ram_mib) == ("new", (("b", "3"),), True, 64)
    assert variants.set_base("id1", "probe").base == "probe"
    with pytest.raises(Conflict, match="has its file already"):
        variants.set_base("id1", "other")
    variants.remove("id1", lambda found: None)
    assert variants.find("id1") is None
    for step in (lambda: variants.change("id1", lambda found: found), lambda: variants.set_base("id1", "x")):
        with pytest.raises(NotFound):
            step()


def test_a_project_sees_its_own_and_public_variants_by_name(database: Database) -> None:
    variants = ImageVariants(database)
    for made in (variant(3), variant(1, "blue"), variant(2, "blue", public=True)):
        variants.add(made)
    assert [one.id for one in variants.visible("red")] == ["id2", "id3"]
    assert [one.id for one in variants.visible(None)] == ["id1", "id2", "id3"]


def test_creates_at_once_stay_within_the_bound(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_variants, "MAX_IMAGE_VARIANTS", 3)
    variants = ImageVariants(database)
    assert outcomes(8, lambda number: variants.add(variant(number))) == ["ImageVariant"] * 3 + ["LimitReached"] * 5
    variants.add(variant(9, "blue"))


def test_of_two_uploads_at_once_one_gives_the_file(database: Database) -> None:
    variants = ImageVariants(database)
    variants.add(variant(1))
    assert outcomes(4, lambda number: variants.set_base("id1", f"base{number}")) == ["Conflict"] * 3 + ["ImageVariant"]
