"""Find the configuration files to read: the named ones, or those in the first usual place that has any."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pinfold.core.errors import InvalidRequest

ENVIRONMENT = "PINFOLD_CONFIG"
OWN_FILE = "/etc/pinfold/pinfold.conf"
NOVA_FILE = "/etc/nova/nova.conf"
_FILE = "configuration file"
_MAX_DROP_INS = 64


def find_files(
    named: Sequence[str], environ: Mapping[str, str], *, nova: bool, own_file: str = OWN_FILE, nova_file: str = NOVA_FILE
) -> tuple[str, ...]:
    """The files to read; later ones win. Empty if there is none; then the defaults apply.

    1. The files named on the command line. 2. Those of `$PINFOLD_CONFIG`, separated by colons. 3. /etc/pinfold/pinfold.conf.
    4. /etc/nova/nova.conf, only for commands that change nothing (`nova`), so that nobody starts guests on Nova's pools by accident;
    also where the own file sets nothing, as the sample that the Debian package installs.
    After each file come the `*.conf` files of its folder with `.d` added, by name, as Nova reads `nova.conf.d`.
    The current directory is never searched. Raises `InvalidRequest` for a named file that does not exist, and for one, named
    or in its usual place, of which this user may not know whether it exists: to go on without it would be to go on with other pools.
    """
    chosen, origin = named_files(named, environ), "--config" if any(named) else f"${ENVIRONMENT}"
    if not chosen:
        usual = (own_file, nova_file) if nova else (own_file,)
        chosen, origin = _first(usual), ""
    found: list[str] = []
    for name in chosen:
        path = Path(name).absolute()
        if not is_there(path, origin or _FILE):
            raise InvalidRequest(f"{origin or _FILE} {name}: there is no such file", key=str(path))
        found.append(str(path))
        found.extend(_drop_ins(path))
    return tuple(found)


def named_files(named: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The files named on the command line; if there are none, those of `$PINFOLD_CONFIG`."""
    return [name for name in named if name] or [name for name in environ.get(ENVIRONMENT, "").split(":") if name]


def find_again(files: Sequence[str]) -> tuple[str, ...]:
    """The files that `find_files` finds now where it found `files` before: the same ones, and whatever is in their folders now."""
    return find_files(to_name(files), os.environ, nova=False)


def to_name(files: Sequence[str]) -> list[str]:
    """The files to name so that `find_files` finds all of them: those that are not in the folder of another one.

    >>> to_name(("/etc/nova/nova.conf", "/etc/nova/nova.conf.d/pools.conf"))
    ['/etc/nova/nova.conf']
    """
    folders = {f"{file}.d" for file in files}
    return [file for file in files if str(Path(file).parent) not in folders]


def drop_in(files: Sequence[str], name: str) -> Path | None:
    """The path at which `find_again` finds another file of that name after `files`: in the folder of the last one that has a folder of
    its own. None without files.

    >>> drop_in(("/etc/pinfold/pinfold.conf", "/etc/pinfold/pinfold.conf.d/a.conf"), "b.conf")
    PosixPath('/etc/pinfold/pinfold.conf.d/b.conf')
    """
    folders = [f"{file}.d" for file in files]
    own = [folder for file, folder in zip(files, folders, strict=True) if str(Path(file).parent) not in folders]
    return Path(own[-1], name) if own else None


def _first(usual: Sequence[str]) -> list[str]:
    """The first of the files that sets something, else the first that is there. Those behind it are not looked at."""
    there = []
    for name in usual:
        if not is_there(Path(name), _FILE, follow=False):
            continue
        there.append(name)
        if _sets_something(Path(name)):
            return [name]
    return there[:1]


def is_there(path: Path, what: str, *, follow: bool = True) -> bool:
    """Whether there is something at that path; without `follow`, a link counts that leads nowhere. Raises `InvalidRequest` if that cannot
    be known: `Path.exists` says no then, or raises, by Python's version.
    """
    try:
        path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise InvalidRequest(f"{what} {path} cannot be read: {error.strerror}", key=str(path)) from error
    return True


def _sets_something(path: Path) -> bool:
    """Whether a file, or one of the folder beside it, has more than comments and names of sections. True if that cannot be told."""
    try:
        texts = [Path(file).read_text(errors="replace") for file in (str(path), *_drop_ins(path))]
    except OSError:
        return True  # the reader will say what is wrong
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return any(line and not line.startswith(("#", ";", "[")) for line in lines)


def _drop_ins(path: Path) -> list[str]:
    folder = path.with_name(path.name + ".d")
    if not (is_there(folder, "configuration folder") and folder.is_dir()):
        return []
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".conf"))
    except OSError as error:
        raise InvalidRequest(f"configuration folder {folder} cannot be read: {error.strerror}", key=str(folder)) from error
    if len(names) > _MAX_DROP_INS:
        raise InvalidRequest(
            f"configuration folder {folder} holds {len(names)} files, at most {_MAX_DROP_INS} are allowed", key=str(folder)
        )
    return [str(folder / name) for name in names]
