"""`PoolFile`: keep the pools that the service orders in a file of the host's configuration, so that every command on the host uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pinfold.agent.files import replace_file
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.pools import DEDICATED, OVERHEAD, SHARED, PoolOrder

_HEAD: Final = """\
# Written by pinfold's agent: `pinfold host order-pools` ordered these pools. `pinfold host order-pools HOST --withdraw` removes this file.
"""
_MOST_BYTES: Final = 1 << 16


class PoolFile:
    """The file at `path`, None where no configuration was read from a file. Not safe for several threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> PoolOrder | None:
        """What was written last; None if there is no such file. Raises `InvalidRequest` for a file that was not written here."""
        if self._path is None:
            return None
        try:
            with self._path.open(encoding="utf-8") as stream:
                text = stream.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"{self._path}: the ordered pools cannot be read ({error})", key=str(self._path)) from error
        lines = (line.partition("=") for line in text.splitlines() if line.startswith("cpu_"))
        found = {name.strip(): value.strip() for name, _, value in lines}
        if found.keys() != {SHARED, DEDICATED, OVERHEAD}:
            raise InvalidRequest(f"{self._path}: {SHARED}, {DEDICATED} and {OVERHEAD} are expected; remove the file", key=str(self._path))
        return PoolOrder(shared=_cpus(found[SHARED]), dedicated=_cpus(found[DEDICATED]), overhead=_cpus(found[OVERHEAD]))

    def write(self, order: PoolOrder | None) -> None:
        """Replace the file as a whole; remove it for None. An empty option means no such pool, as in Nova.

        Raises `InvalidRequest` if the agent was started without a configuration file, `OSError` if the folder cannot be written to.
        """
        if self._path is None:
            raise InvalidRequest("the agent was started without a configuration file", key="--config")
        if order is None:
            self._path.unlink(missing_ok=True)
            return
        sets = {SHARED: order.shared, DEDICATED: order.dedicated, OVERHEAD: order.overhead}
        lines = "".join(f"{name} = {cpus or ''}".rstrip() + "\n" for name, cpus in sets.items())
        replace_file(self._path, f"{_HEAD}[compute]\n{lines}".encode(), mode=0o644)


def _cpus(text: str) -> CpuSet | None:
    return CpuSet.parse(text) if text else None
