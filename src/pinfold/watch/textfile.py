"""Write the metrics into a file for node_exporter's textfile collector, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.core.errors import InvalidRequest, Unavailable

_SUFFIX = ".prom"


def check_path(path: Path) -> None:
    """Raises `InvalidRequest` for a file that the collector would not read, or whose folder does not exist."""
    if path.suffix != _SUFFIX:
        raise InvalidRequest(f"--textfile {path}: node_exporter reads files whose names end in {_SUFFIX}", key="textfile")
    if not path.parent.is_dir():
        raise InvalidRequest(f"--textfile {path}: there is no folder {path.parent}", key="textfile")


def write(path: Path, text: bytes) -> None:
    """Replace the file, so that a reader sees the old text or the new one. Everybody may read it. Raises `Unavailable`."""
    # The collector reads every file that ends in .prom; the new text must not have such a name before it is whole.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, 0o644)
            stream.write(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
