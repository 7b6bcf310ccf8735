"""Negotiate the Compute API's microversion, and write its response headers. Each noun's module implements the changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pinfold.core.errors import PinfoldError

_FORM: Final = re.compile(r"([1-9]\d{0,3})\.(0|[1-9]\d{0,3})")


@dataclass(frozen=True, slots=True, order=True)
class Microversion:
    """A version such as 2.79; ordered as numbers.

    >>> Microversion(2, 9) < Microversion(2, 79), str(Microversion(2, 79))
    (True, '2.79')
    """

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


OLDEST: Final = Microversion(2, 1)
NEWEST: Final = Microversion(2, 96)


class MalformedVersion(PinfoldError):
    """The header is not a version: HTTP 400."""


class UnsupportedVersion(PinfoldError):
    """A version that is not served: HTTP 406."""


def negotiate(standard: str | None, legacy: str | None) -> Microversion:
    """The microversion that two request headers ask for: 2.1 without one, the newest for `latest`.

    `standard` is `OpenStack-API-Version` (which may list several services), and wins; `legacy` is `X-OpenStack-Nova-API-Version`.
    Raises `MalformedVersion` and `UnsupportedVersion`. Source: OpenStack API-SIG, "Microversion Specification".

    >>> negotiate("placement 1.39, compute 2.61", None), negotiate(None, None), negotiate("compute latest", "2.3") == NEWEST
    (Microversion(major=2, minor=61), Microversion(major=2, minor=1), True)
    """
    asked = legacy
    for part in (standard or "").split(","):
        service, _, wanted = part.strip().partition(" ")
        if service.lower() == "compute":
            asked = wanted
    if asked is None:
        return OLDEST
    text = asked.strip()
    if text == "latest":
        return NEWEST
    match = _FORM.fullmatch(text)
    if match is None:
        raise MalformedVersion(f"API Version String {text[:64]!r} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = Microversion(int(match[1]), int(match[2]))
    if not OLDEST <= version <= NEWEST:
        raise UnsupportedVersion(f"Version {version} is not supported by the API. Minimum is {OLDEST} and maximum is {NEWEST}.")
    return version


def answer_headers(version: Microversion) -> dict[str, str]:
    """The headers of a response at that version."""
    return {
        "OpenStack-API-Version": f"compute {version}",
        "X-OpenStack-Nova-API-Version": str(version),
        "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }
