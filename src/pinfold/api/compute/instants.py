"""Times as the Compute API writes them, of which it has two ways."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(seconds: float) -> str:
    """A time with its zone and no fraction.

    >>> instant(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_instant(seconds: float) -> str:
    """A time with microseconds and no zone; it is UTC all the same.

    >>> micro_instant(0.5)
    '1970-01-01T00:00:00.500000'
    """
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
