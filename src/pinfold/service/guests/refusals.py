"""`Refusals`: counts the guests that no host took, by why. For one process; what a guest's fault says of each host is in `faults`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from pinfold.core.reasons import ReasonCode
from pinfold.service.claims.outcome import Refused

NO_HOST: Final = "no-host"
"""Counted for a guest that no host was asked about: none is registered, or the request rules out all of them."""


class Refusals:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter(dict.fromkeys((*(reason.value for reason in ReasonCode), NO_HOST), 0))

    def count(self, answer: Refused) -> None:
        """Count a guest once for each reason code that a host gave."""
        with self._lock:
            self._counts.update(codes(answer))

    def by_code(self) -> Mapping[str, int]:
        """How many guests were refused, for every reason code; those that were never given are 0."""
        with self._lock:
            return dict(self._counts)


def codes(answer: Refused) -> frozenset[str]:
    """The codes for which a refused guest counts: those of all hosts' reasons, or `NO_HOST`."""
    return frozenset(reason.code.value for host in answer.refusals for reason in host.no_fit.reasons) or frozenset({NO_HOST})
