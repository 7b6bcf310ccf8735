"""`WatchOptions`: what the command line says about the watch. What is watched is in `HostSettings`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.request.model import Flavor
from pinfold.core.settings import RepairScope
from pinfold.watch.pools import PoolsMode

UI_ADDRESS: Final = "127.0.0.1:9178"
"""Where the page of the host is, without an address of its own."""


class WatchOptions(Struct, frozen=True, kw_only=True):
    """`interval` is in seconds. `listen` is '' for no listener, `textfile` '' for no file. The journal keeps `keep_days` and `keep_mib`.

    `ui`: the page of the host is served, too, at `listen` or else at `UI_ADDRESS`. `flavors` are those whose free slots are counted.
    `files` are the configuration files, whose changes a sweep notices.
    """

    interval: float = 10.0
    listen: str = ""
    ui: bool = False
    textfile: str = ""
    repair: RepairScope = RepairScope.OFF
    keep_days: int = 30
    keep_mib: int = 64
    pools: PoolsMode = PoolsMode.REPORT
    files: tuple[str, ...] = ()
    flavors: tuple[Flavor, ...] = ()
