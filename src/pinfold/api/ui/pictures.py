"""`Pictures`: the small pictures of hosts, kept until a host changes. To draw one takes as long as everything else of its row."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from pinfold.core.host import HostState
from pinfold.core.host_map import Observed, host_map
from pinfold.core.identity import HostId
from pinfold.drawing.small import Marks, SmallPicture, small_picture

MOST_KEPT: Final = 1024
_NONE: Final = Marks()


class Pictures:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: OrderedDict[HostId, tuple[HostState, SmallPicture]] = OrderedDict()

    def small(self, host: HostId, state: HostState, marks: Marks = _NONE) -> str:
        """The small picture of a host in this state, with marks over it. The same value of a state is drawn once."""
        with self._lock:
            known = self._drawn.get(host)
        if known is None or known[0] is not state:
            known = state, small_picture(host_map(state, Observed(names={})))
        with self._lock:
            self._drawn[host] = known
            self._drawn.move_to_end(host)
            while len(self._drawn) > MOST_KEPT:
                self._drawn.popitem(last=False)
        return known[1].marked(marks)
