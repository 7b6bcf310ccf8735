"""Write times in the two formats of the Compute API."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(seconds: float) -> str:
    """A time with its zone and without a fraction.

    >>> instant(0.0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(moment: datetime) -> float:
    """A time as seconds since the epoch; one without a zone is in UTC.

    >>> seconds_of(datetime(1970, 1, 1, 0, 1))
    60.0
    """
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def micro_instant(seconds: float) -> str:
    """A time in UTC with microseconds, written without a zone.

    >>> micro_instant(0.5)
    '1970-01-01T00:00:00.500000'
    """
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
