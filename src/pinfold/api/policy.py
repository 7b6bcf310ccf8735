"""Which routes a caller may use at all, by role. What a route shows of other projects is decided in the route.

| caller | may |
|---|---|
| an admin of the accounts file or of Keystone | everything |
| a reader of the accounts file | read everything |
| a member, by Keystone | read and change what its project owns |
| a reader, by Keystone | read what its project owns |

Source: Nova's default policy, `nova.policies` (34.0): `ADMIN`, `PROJECT_MEMBER_OR_ADMIN` and `PROJECT_READER_OR_ADMIN`.
"""

from __future__ import annotations

import re
from typing import Final

from pinfold.api.accounts import Role
from pinfold.api.caller import Caller

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
QUESTIONS: Final = ("/v1/fits",)
"""Paths whose POST changes nothing."""
_COMPUTE: Final = "/compute/v2.1/"
_FOR_PROJECTS: Final = ("/compute", "/image", "/network", "/identity", "/openapi.json")
"""What callers of one project may use; everything else tells of hosts, or of all projects."""
_OF_HOSTS: Final = frozenset({"os-aggregates", "os-hosts", "os-hypervisors", "os-migrations", "os-services"})
"""Nouns of the Compute API that are for admins."""
_FOR_ADMINS: Final = re.compile(
    r"os-availability-zone/detail|os-simple-tenant-usage|flavors/[^/]+/os-flavor-access|servers/[^/]+/diagnostics"
)
"""Other paths of the Compute API, below its root, that are for admins."""
_CHANGED_BY_ADMINS: Final = frozenset({"flavors", "os-quota-sets"})
"""Nouns of the Compute API that callers of one project may only read."""


def refusal(caller: Caller, method: str, path: str) -> str:
    """Why a caller may not use a route; '' if it may.

    >>> eve = Caller(user="1", name="eve", project="p1", role=Role.MEMBER, everywhere=False)
    >>> refusal(eve, "POST", "/compute/v2.1/servers"), refusal(eve, "GET", "/v1/hosts")
    ('', "Policy doesn't allow eve to GET /v1/hosts: it needs the role admin.")
    """
    reads = method in READING or path in QUESTIONS
    if not caller.everywhere and _is_for_admins(path, reads=reads):
        return f"Policy doesn't allow {caller.name} to {method} {path[:255]}: it needs the role admin."
    if caller.role is Role.READER and not reads:
        return f"The account {caller.name} may read only."
    return ""


def _is_for_admins(path: str, *, reads: bool) -> bool:
    if not any(path == root or path.startswith(f"{root}/") for root in _FOR_PROJECTS):
        return True
    if not path.startswith(_COMPUTE):
        return False
    below = path.removeprefix(_COMPUTE)
    noun = below.partition("/")[0]
    return noun in _OF_HOSTS or _FOR_ADMINS.fullmatch(below) is not None or (noun in _CHANGED_BY_ADMINS and not reads)
