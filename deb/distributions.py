"""The Python packages that the Debian package carries, with their files and licences. `build` says where each file goes."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.requirements import Requirement

EXTRAS: Final = ("watch", "agent")
"""The extras that are carried: a host's watch and its agent. The service itself is too large for a host that only runs guests."""

_OF_THE_INSTALLER: Final = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_LICENCE: Final = re.compile(r"(?i)^(licen[cs]e|copying|notice|authors)\b")


def carried(root: Path) -> tuple[Distribution, ...]:
    """The installed packages that the `pyproject.toml` of the tree at `root` and those extras need, by name.

    Raises `ValueError` for one that is missing or not the version of the lock file.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = dict(re.findall(r"^([\w.-]+)==([^\s\\;]+)", (root / "requirements-dev.lock").read_text(encoding="utf-8"), re.MULTILINE))
    extras = [text for extra in EXTRAS for text in project["optional-dependencies"][extra]]
    waiting = [Requirement(text) for text in (*project["dependencies"], *extras)]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonical(wanted.name)
        if (name, frozenset(wanted.extras)) not in seen:
            seen.add((name, frozenset(wanted.extras)))
            found[name] = one = _installed(name, lock.get(name, "none"))
            waiting += _needs(one, wanted.extras)
    return tuple(found[name] for name in sorted(found))


def _installed(name: str, version: str) -> Distribution:
    try:
        one = distribution(name)
    except PackageNotFoundError:
        raise ValueError(f"{name} is not installed, and the lock file has {version}; run bin/setup --tests") from None
    if one.version != version:
        raise ValueError(f"{name} {one.version} is installed, and the lock file has {version}; run bin/setup --tests")
    return one


def canonical(name: str) -> str:
    """The name as lock files write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def files(one: Distribution) -> Iterator[PackagePath]:
    """Its files below `site-packages`, without programs, byte code and what the installer noted.

    Raises `ValueError` for one that is not as it was installed.
    """
    for file in one.files or ():
        if ".." in file.parts or "__pycache__" in file.parts or file.name in _OF_THE_INSTALLER:
            continue
        if file.hash is not None:
            digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                raise ValueError(f"{file.locate()} is not as {one.metadata['Name']} {one.version} installed it")
        yield file


def licences(one: Distribution) -> dict[str, str]:
    """The texts that come with a package and say what its licences are, by file. Raises `ValueError` if there are none."""
    found = {
        str(file): Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")
        for file in files(one)
        if _LICENCE.match(file.name) and file.suffix not in (".py", ".so")
    }
    if not any(re.match(r"(?i)licen[cs]e|copying", PurePosixPath(name).name) for name in found):
        raise ValueError(f"{one.metadata['Name']} {one.version} comes without the text of its licence")
    return found


def _needs(one: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in one.requires or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield need
