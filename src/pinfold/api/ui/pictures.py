"""`Pictures`: the small pictures of hosts, kept until a host changes. To draw one takes as long as everything else of its row."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from pinfold.core.host import HostState
from pinfold.core.host_map import Observed, host_map
from pinfold.core.identity import HostId
from pinfold.drawing.small import small_svg

MOST_KEPT: Final = 1024


class Pictures:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: OrderedDict[HostId, tuple[HostState, str]] = OrderedDict()

    def small(self, host: HostId, state: HostState) -> str:
        """The small picture of a host in this state. The same value of a state is drawn once."""
        with self._lock:
            known = self._drawn.get(host)
        if known is None or known[0] is not state:
            known = state, small_svg(host_map(state, Observed(names={})))
        with self._lock:
            self._drawn[host] = known
            self._drawn.move_to_end(host)
            while len(self._drawn) > MOST_KEPT:
                self._drawn.popitem(last=False)
        return known[1]
