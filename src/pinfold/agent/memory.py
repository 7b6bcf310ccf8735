"""Read and write what an agent remembers across restarts: one file in its state directory. `agent.reconcile` defines the contents."""

from __future__ import annotations

from pathlib import Path

from pinfold.agent.files import replace_file
from pinfold.agent.reconcile import Memory
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest

_read = decoder(Memory)


def read_memory(path: Path) -> Memory:
    """The memory in the file; an empty memory if there is no file. Raises `InvalidRequest` for a damaged file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Memory()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: the agent's memory cannot be read ({error})", key=str(path)) from error
    return _read(text, str(path))


def write_memory(path: Path, memory: Memory) -> None:
    """Replace the whole file, flushed to disk: a lost tombstone would let a stale order start a guest."""
    replace_file(path, encode(memory).encode())
