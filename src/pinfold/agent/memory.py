"""What an agent remembers across its own restarts, in one file of its state directory. What it means is `agent.reconcile`'s."""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.agent.reconcile import Memory
from pinfold.core.errors import InvalidRequest
from pinfold.store import codec


def read_memory(path: Path) -> Memory:
    """The memory in the file; nothing where there is none. Raises `InvalidRequest` for a file that is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Memory()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: the agent's memory cannot be read ({error})", key=str(path)) from error
    return codec.decode(text, Memory, str(path))


def write_memory(path: Path, memory: Memory) -> None:
    """Replace the file as a whole, on the disk before this returns: a tombstone that is lost would let a stale order start a guest."""
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
