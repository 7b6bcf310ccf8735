"""The images of one directory: `NAME.raw`, `.qcow2`, `.img`, `.rom` or `.kernel`, each with an optional `NAME.toml` of properties.

Names never leave the directory: a link, a folder or a dotfile in it is no image.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import tomllib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pinfold.core.bounds import MAX_IMAGE_PROPERTIES
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.request.model import Image

ImageStatus = Literal["active", "queued", "deactivated"]
_FORMATS: Final = {".raw": "raw", ".img": "raw", ".qcow2": "qcow2", ".rom": "raw", ".kernel": "aki"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,127}")
_NAMESPACE: Final = uuid.UUID("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e")
_MAX_PROPERTIES: Final = 65536
_MAX_IMAGES: Final = 10_000
_MAX_TOLD: Final = 256
_QCOW2_HEAD: Final = 32
PLAINLY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Open a FIFO without waiting for its writer, and never follow a link."""
MAX_PROPERTY: Final = 255
"""The most characters of a property's value, and of the key of a variant's property."""
FIXED_FIELDS: Final = frozenset(
    {
        "checksum",
        "container_format",
        "created_at",
        "direct_url",
        "disk_format",
        "file",
        "id",
        "locations",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "os_hidden",
        "owner",
        "protected",
        "schema",
        "self",
        "size",
        "status",
        "stores",
        "tags",
        "updated_at",
        "virtual_size",
        "visibility",
    }
)
"""Fields of every image in the image API, which the service fills in. No property can have their names."""
_log = logging.getLogger(__name__)
_Marks = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Whose a variant is, and whose file it has: `base` is the name of an operator's image, '' while the variant waits for its file."""

    project: str
    public: bool
    protected: bool
    base: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogImage:
    """One image. Its id is derived from its name, so that every process gives the same id.

    `properties` are `(key, value)` pairs ordered by key; `min_disk_gib` and `min_ram_mib` are taken out of them. `virtual_size` is the size
    of the disk that a guest sees, None if the file does not tell. `ownership` is None for an image of the directory, which is the
    operator's; a variant has another id, name and properties than the image whose file it has.
    """

    id: str
    name: str
    path: str
    suffix: str
    size: int
    modified: datetime
    virtual_size: int | None = None
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: tuple[tuple[str, str], ...] = ()
    ownership: Ownership | None = None

    @property
    def file_of(self) -> str:
        """The name of the operator's image whose file it has, '' for none. Agents find the file by it."""
        return self.name if self.ownership is None else self.ownership.base

    @property
    def status(self) -> ImageStatus:
        """The status in the image API's words."""
        if self.ownership is None or self.path:
            return "active"
        return "deactivated" if self.ownership.base else "queued"

    @property
    def disk_format(self) -> str:
        """The format in the image API's words."""
        return _FORMATS[self.suffix]

    def as_image(self) -> Image:
        """What placement needs to know about it."""
        return Image(name=self.name, properties=self.properties)


def image_id(name: str) -> str:
    """The id of the image of that name.

    >>> image_id("probe") == image_id("probe") != image_id("other")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every image of a directory, ordered by name, and one sentence for each file that makes no image.

    The sentences name paths; they are for the log, and for commands of users who may read the directory.
    """

    images: tuple[CatalogImage, ...] = ()
    problems: tuple[str, ...] = ()


def read_catalog(directory: Path) -> tuple[CatalogImage, ...]:
    """Every image of the directory, ordered by name; none if the directory is absent. Unchanged files are not read again.

    A file that makes no image is logged once, and does not affect the others.
    """
    return _catalog(directory, _marks(directory)).images


def inspect_catalog(directory: Path) -> Catalog:
    """The images, and what is wrong in the directory: a name of two files, a bad property file, a link, an unreadable file."""
    return _read(directory, _marks(directory))


def find_image(directory: Path, image_id: str) -> CatalogImage | None:
    """The image of that id, or None."""
    return next((image for image in read_catalog(directory) if image.id == image_id), None)


def _marks(directory: Path) -> _Marks:
    """What shows whether anything in the directory changed: name, change time, size and mode of every file."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, info) for entry in entries if (info := _stat(entry)) is not None]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise Unavailable(f"the image directory cannot be read: {error.strerror}") from error
    return tuple(sorted((name, info.st_ctime_ns, info.st_size, info.st_mode) for name, info in found))


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The file's status; None if it has just gone."""
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


@lru_cache(maxsize=4)
def _catalog(directory: Path, marks: _Marks) -> Catalog:
    found = _read(directory, marks)
    for problem in found.problems:
        _tell(problem)
    return found


@lru_cache(maxsize=_MAX_TOLD)
def _tell(problem: str) -> None:
    """Log a problem once, even though the directory keeps changing while an image is copied into it."""
    _log.warning("not an image: %s", problem)


def _read(directory: Path, marks: _Marks) -> Catalog:
    """Each name's image, or why it has none."""
    named: dict[str, list[tuple[Path, int]]] = {}
    for name, _, _, mode in marks:
        path = directory / name
        if path.suffix in _FORMATS and _NAME.fullmatch(path.stem):
            named.setdefault(path.stem, []).append((path, mode))
    images, problems = [], []
    for stem in sorted(named):
        try:
            images.append(_image(named[stem]))
        except InvalidRequest as error:
            problems.append(str(error))
    if len(images) > _MAX_IMAGES:
        problems.append(f"{directory}: {len(images)} images, only the first {_MAX_IMAGES} by name are used")
    return Catalog(images=tuple(images[:_MAX_IMAGES]), problems=tuple(problems))


def _image(files: list[tuple[Path, int]]) -> CatalogImage:
    """The image of the files of one name. Raises `InvalidRequest` that names the file."""
    (path, mode), *others = files
    if others:
        names = " and ".join(other.name for other, _ in files)
        raise InvalidRequest(f"{path.parent}: {names} share one name; one file for each name is allowed", key=str(path))
    if not stat.S_ISREG(mode):
        raise InvalidRequest(f"{path}: it is {_kind(mode)}; an image is a plain file", key=str(path))
    try:
        handle = os.open(path, PLAINLY)
    except OSError as error:
        raise InvalidRequest(f"{path}: it cannot be read: {error.strerror}", key=str(path)) from error
    try:
        info, head = os.fstat(handle), os.read(handle, _QCOW2_HEAD)
    except OSError as error:
        raise InvalidRequest(f"{path}: it cannot be read: {error.strerror}", key=str(path)) from error
    finally:
        os.close(handle)
    given = _properties(path.with_suffix(".toml"))
    return CatalogImage(
        id=image_id(path.stem),
        name=path.stem,
        path=str(path.resolve()),
        suffix=path.suffix,
        size=info.st_size,
        virtual_size=_virtual_size(head) if path.suffix == ".qcow2" else info.st_size,
        modified=datetime.fromtimestamp(int(info.st_mtime), tz=UTC),
        min_disk_gib=_number(path, given, "min_disk"),
        min_ram_mib=_number(path, given, "min_ram"),
        properties=tuple(sorted(given.items())),
    )


def _virtual_size(head: bytes) -> int | None:
    """The size of the disk in the head of a qcow2 file; None if it is none. Source: QEMU's specification of qcow2, bytes 24 to 31.

    >>> _virtual_size(b"QFI\\xfb" + bytes(20) + (1 << 30).to_bytes(8, "big")), _virtual_size(b"no image")
    (1073741824, None)
    """
    size = int.from_bytes(head[24:_QCOW2_HEAD], "big")
    return size if head.startswith(b"QFI\xfb") and len(head) == _QCOW2_HEAD and size < 1 << 63 else None


def _kind(mode: int) -> str:
    for test, words in ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return words
    return "a device"


def _properties(path: Path) -> dict[str, str]:
    """The properties in a TOML file: a flat table of strings, numbers and booleans, converted to text as in the image API."""
    try:
        handle = os.open(path, PLAINLY)
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise InvalidRequest(f"{path}: cannot be read as a property file ({why})", key=str(path)) from error
    with open(handle, "rb") as file:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_PROPERTIES:
            raise InvalidRequest(f"{path}: a property file must be a plain file of at most {_MAX_PROPERTIES} bytes", key=str(path))
        try:
            parsed = tomllib.loads(file.read(_MAX_PROPERTIES).decode("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise InvalidRequest(f"{path}: cannot be read as a property file ({error})", key=str(path)) from error
    if len(parsed) > MAX_IMAGE_PROPERTIES:
        raise InvalidRequest(f"{path}: {len(parsed)} properties, at most {MAX_IMAGE_PROPERTIES} are allowed", key=str(path))
    if fixed := sorted(FIXED_FIELDS.intersection(parsed)):
        raise InvalidRequest(
            f"{path}: {fixed[0]} is a field that the service fills in, so a property cannot set it; remove it or rename it",
            key=fixed[0],
        )
    return {key: _text(path, key, value) for key, value in parsed.items()}


def _text(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) and len(text := str(value)) <= MAX_PROPERTY:
        return text
    raise InvalidRequest(
        f"{path}: property {key!r} must be a text of at most {MAX_PROPERTY} characters, a whole number or a boolean", key=key
    )


def _number(path: Path, given: dict[str, str], key: str) -> int:
    text = given.pop(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{path}: {key} is {text!r}, only a whole number is allowed", key=key)
    return int(text)
