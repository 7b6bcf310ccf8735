"""Read what a guest's agent reported of its threads, as the store keeps it."""

from __future__ import annotations

from pinfold.agent.wire import ThreadReport
from pinfold.core.encoding import decoder
from pinfold.core.identity import GuestId
from pinfold.store.unreadable import read_or

_read_threads = decoder(ThreadReport)


def thread_report(guest: GuestId, text: str) -> ThreadReport | None:
    """What a guest's agent reported of its threads; None if it reported nothing, or if it cannot be read."""
    return read_or(_read_threads, text, f"guest {guest}: what its agent told of its threads", None) if text else None
