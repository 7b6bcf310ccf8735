"""The images of one directory: `NAME.raw`, `.qcow2`, `.img`, `.rom` or `.kernel`, each with an optional `NAME.toml` of properties.

HTTP does not belong here. Names never leave the directory: what is not a plain file in it (a link, a folder, a dotfile) is no image.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import Image

_FORMATS: Final = {".raw": "raw", ".img": "raw", ".qcow2": "qcow2", ".rom": "raw", ".kernel": "aki"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,127}")
_NAMESPACE: Final = uuid.UUID("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e")
_MAX_PROPERTIES: Final = 65536
_MAX_COUNT: Final = 256
_MAX_IMAGES: Final = 10_000
_Marks = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogImage:
    """One image: its id is derived from its name, so that every process tells the same.

    `properties` are `(key, value)` pairs ordered by key; `min_disk_gib` and `min_ram_mib` are taken out of them.
    """

    id: str
    name: str
    path: str
    suffix: str
    size: int
    modified: datetime
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def disk_format(self) -> str:
        """The format in the image API's words."""
        return _FORMATS[self.suffix]

    @property
    def etag(self) -> str:
        """A tag that changes when the file does; not a checksum of its content."""
        return hashlib.sha256(f"{self.name}\0{self.size}\0{self.modified.timestamp()}".encode()).hexdigest()[:32]

    def as_image(self) -> Image:
        """What placement needs to know of it."""
        return Image(name=self.name, properties=self.properties)


def image_id(name: str) -> str:
    """The id of the image of that name.

    >>> image_id("probe") == image_id("probe") != image_id("other")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, name))


def read_catalog(directory: Path) -> tuple[CatalogImage, ...]:
    """Every image of the directory, ordered by name. An absent directory holds none. What has not changed is not read again.

    Raises `InvalidRequest` that names the file when two images share a name, when a property file is malformed, or when there are too many.
    """
    return _catalog(directory, _marks(directory))


def find_image(directory: Path, image_id: str) -> CatalogImage | None:
    """The image of that id, or None. Raises as `read_catalog` does."""
    return next((image for image in read_catalog(directory) if image.id == image_id), None)


def _marks(directory: Path) -> _Marks:
    """What tells whether anything in the directory changed: name, change time, size and mode of every file."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise InvalidRequest(f"{directory}: cannot be read as an image directory ({error})", key=str(directory)) from error
    return tuple(sorted((name, info.st_ctime_ns, info.st_size, info.st_mode) for name, info in found))


@lru_cache(maxsize=4)
def _catalog(directory: Path, marks: _Marks) -> tuple[CatalogImage, ...]:
    found: dict[str, CatalogImage] = {}
    for path in (directory / mark[0] for mark in marks):
        if path.suffix not in _FORMATS or path.is_symlink() or not path.is_file() or not _NAME.fullmatch(path.stem):
            continue
        if path.stem in found:
            raise InvalidRequest(f"{path}: an image of that name exists already ({found[path.stem].path})", key=str(path))
        if len(found) >= _MAX_IMAGES:
            raise InvalidRequest(f"{directory}: more than {_MAX_IMAGES} images", key=str(directory))
        found[path.stem] = _read(path)
    return tuple(found[name] for name in sorted(found))


def _read(path: Path) -> CatalogImage:
    info = path.stat()
    given = _properties(path.with_suffix(".toml"))
    return CatalogImage(
        id=image_id(path.stem),
        name=path.stem,
        path=str(path.resolve()),
        suffix=path.suffix,
        size=info.st_size,
        modified=datetime.fromtimestamp(int(info.st_mtime), tz=UTC),
        min_disk_gib=_number(path, given, "min_disk"),
        min_ram_mib=_number(path, given, "min_ram"),
        properties=tuple(sorted(given.items())),
    )


def _properties(path: Path) -> dict[str, str]:
    """The properties of a TOML file: a flat table of strings, numbers and booleans, told as text the way the image API tells them."""
    if not path.exists():
        return {}
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_PROPERTIES:
            raise InvalidRequest(f"{path}: a property file must be a plain file of at most {_MAX_PROPERTIES} bytes", key=str(path))
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{path}: cannot be read as a property file ({error})", key=str(path)) from error
    if len(parsed) > _MAX_COUNT:
        raise InvalidRequest(f"{path}: {len(parsed)} properties, at most {_MAX_COUNT} are allowed", key=str(path))
    return {key: _text(path, key, value) for key, value in parsed.items()}


def _text(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) and len(text := str(value)) <= 255:
        return text
    raise InvalidRequest(f"{path}: property {key!r} must be a text of at most 255 characters, a whole number or a boolean", key=key)


def _number(path: Path, given: dict[str, str], key: str) -> int:
    text = given.pop(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{path}: {key} is {text!r}, only a whole number is allowed", key=key)
    return int(text)
