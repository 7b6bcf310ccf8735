"""Fit the bounds on connections to the number of files that this process may open. `api.connections` enforces the bounds."""

from __future__ import annotations

import logging
import resource
from typing import Final

from msgspec.structs import replace

from pinfold.core.settings import ConnectionLimits

_log = logging.getLogger(__name__)

_OTHERS: Final = 256
"""Open files that are not connections of clients: databases, logs, Placement."""


def fitting(limits: ConnectionLimits) -> ConnectionLimits:
    """Raise this process's limit on open files as far as needed and allowed, and return the bounds that fit into it."""
    wanted = limits.total + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    total = max(soft - _OTHERS, soft // 2)
    _log.warning(
        "[pinfold_api] connections is %d, but this process may open %d files: %d connections fit (LimitNOFILE)", limits.total, soft, total
    )
    return replace(limits, total=total, strangers=min(limits.strangers, total // 2))
