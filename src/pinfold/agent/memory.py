"""Read and write what an agent remembers across restarts: one file in its state directory. `agent.reconcile` defines the contents."""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.agent.reconcile import Memory
from pinfold.core.errors import InvalidRequest
from pinfold.store import codec


def read_memory(path: Path) -> Memory:
    """The memory in the file; an empty memory if there is no file. Raises `InvalidRequest` for a damaged file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Memory()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: the agent's memory cannot be read ({error})", key=str(path)) from error
    return codec.decode(text, Memory, str(path))


def write_memory(path: Path, memory: Memory) -> None:
    """Replace the whole file, and flush it to disk before returning: a lost tombstone would let a stale order start a guest."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    part = path.with_name(f".{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(codec.encode(memory, Memory))
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
