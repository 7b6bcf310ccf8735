"""Nova's routes that pinfold does not have: each answers with a sentence that says why, and what to do instead.

The actions of a server that pinfold does not have are in `servers.unsupported_actions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from starlette.responses import Response

from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.errors import ApiError
from pinfold.api.microversion import OLDEST, Microversion
from pinfold.api.router import Router

_ROUTES: Final = {
    "pinfold has no list of extensions: the microversion of a request says what the API can do.": """
        GET /extensions
        GET /extensions/{id}
        """,
    "The document of the API's version is at /compute/v2.1/.": "GET /versions/{id}",
    "Nova has removed this API, and pinfold never had it.": """
        GET POST /os-agents gone
        DELETE PUT /os-agents/{id} gone
        GET POST /os-cells gone
        GET /os-cells/capacities gone
        GET /os-cells/detail gone
        GET /os-cells/info gone
        POST /os-cells/sync_instances gone
        DELETE GET PUT /os-cells/{id} gone
        GET /os-cells/{id}/capacities gone
        POST /os-certificates gone
        GET /os-certificates/{id} gone
        GET POST /os-cloudpipe gone
        PUT /os-cloudpipe/{id} gone
        GET /os-fixed-ips/{id} gone
        POST /os-fixed-ips/{id}/action gone
        GET /os-floating-ip-dns gone
        DELETE PUT /os-floating-ip-dns/{id} gone
        DELETE GET PUT /os-floating-ip-dns/{domain_id}/entries/{id} gone
        GET POST /os-floating-ips-bulk gone
        GET PUT /os-floating-ips-bulk/{id} gone
        GET /os-fping gone
        GET /os-fping/{id} gone
        POST /os-networks gone
        POST /os-networks/add gone
        DELETE /os-networks/{id} gone
        POST /os-networks/{id}/action gone
        GET POST /os-security-group-default-rules gone
        DELETE GET /os-security-group-default-rules/{id} gone
        POST /os-tenant-networks gone
        DELETE /os-tenant-networks/{id} gone
        GET POST /servers/{server_id}/consoles gone
        DELETE GET /servers/{server_id}/consoles/{id} gone
        GET /servers/{server_id}/os-virtual-interfaces gone
        """,
    "Every agent fetches an image when a server first needs it, so no image can be cached before.": (
        "POST /os-aggregates/{id}/images 2.81.."
    ),
    "pinfold has no volumes: a server has the disk that its image and flavor give it; mount a network share in the guest for more.": """
        POST /os-assisted-volume-snapshots
        DELETE /os-assisted-volume-snapshots/{id}
        GET POST /os-snapshots ..2.35
        GET /os-snapshots/detail ..2.35
        DELETE GET /os-snapshots/{id} ..2.35
        GET POST /os-volumes ..2.35
        GET /os-volumes/detail ..2.35
        DELETE GET /os-volumes/{id} ..2.35
        GET POST /servers/{server_id}/os-volume_attachments
        DELETE GET PUT /servers/{server_id}/os-volume_attachments/{id}
        GET POST /servers/{server_id}/shares 2.97..
        DELETE GET /servers/{server_id}/shares/{id} 2.97..
        """,
    "This is an alias of Nova's for /servers: use /servers.": """
        GET POST /os-volumes_boot ..2.102
        GET /os-volumes_boot/detail ..2.102
        DELETE GET PUT /os-volumes_boot/{id} ..2.102
        POST /os-volumes_boot/{id}/action ..2.102
        """,
    "pinfold has no bare-metal nodes: ask Ironic for them.": """
        GET POST /os-baremetal-nodes ..2.35
        DELETE GET /os-baremetal-nodes/{id} ..2.35
        POST /os-baremetal-nodes/{id}/action ..2.35
        """,
    "pinfold's hosts have no port for consoles, so there is nothing to show of a token: the API connects a console itself.": (
        "GET /os-console-auth-tokens/{id}"
    ),
    "pinfold assigns no floating IPs: give the guest an address of the operator's network.": """
        GET /os-floating-ip-pools ..2.35
        GET POST /os-floating-ips ..2.35
        DELETE GET /os-floating-ips/{id} ..2.35
        """,
    "pinfold has no security groups: filter packets in the guest, or on the operator's network.": """
        POST /os-security-group-rules ..2.35
        DELETE /os-security-group-rules/{id} ..2.35
        GET POST /os-security-groups ..2.35
        DELETE GET PUT /os-security-groups/{id} ..2.35
        GET /servers/{server_id}/os-security-groups
        """,
    "pinfold keeps no log of usage audits: `openstack usage list` and /metrics have the numbers.": """
        GET /os-instance_usage_audit_log
        GET /os-instance_usage_audit_log/{id}
        """,
    "pinfold moves no servers between hosts: delete the server, and create it with `--host` on the other one.": """
        GET /servers/{server_id}/migrations 2.23..
        GET /servers/{server_id}/migrations/{id} 2.23..
        DELETE /servers/{server_id}/migrations/{id} 2.24..
        POST /servers/{server_id}/migrations/{id}/action 2.22..
        """,
    "pinfold has no quota classes: a project without a quota has no limits; `openstack quota set` gives it some.": (
        "GET PUT /os-quota-class-sets/{id}"
    ),
    "pinfold has no Neutron and no Cinder, so it waits for no events of theirs.": "POST /os-server-external-events",
    "pinfold has no server groups: choose hosts with `--host`, or with availability zones.": """
        GET POST /os-server-groups
        DELETE GET /os-server-groups/{id}
        """,
}
"""By sentence, the routes below `/compute/v2.1` that it is about: methods, the path, and Nova's microversions, or `gone`.

The source is Nova's own list of routes, `nova.api.openstack.compute.routes.ROUTE_LIST` of Nova 34.
"""


class Unsupported(Struct, frozen=True, kw_only=True):
    """A part of Nova's API that pinfold does not have, and the sentence that says why.

    Nova has it from the microversion `since` to `until`, and answers 404 at others. One that is `gone` Nova itself answers with 410.
    """

    name: str
    sentence: str
    since: Microversion | None = None
    until: Microversion | None = None
    gone: bool = False

    @property
    def versions(self) -> str:
        """The microversions at which Nova has it, in words: `2.6 to 2.35`, `all`, or `removed`."""
        if self.gone:
            return "removed"
        return f"{self.since or OLDEST} to {self.until or 'the newest'}" if self.since or self.until else "all"

    def refuse(self, version: Microversion) -> ApiError:
        """What a request at that microversion is answered."""
        if self.gone:
            return ApiError(410, f"{self.name} is gone. {self.sentence}")
        if version < (self.since or OLDEST) or version > (self.until or version):
            return ApiError(404, f"{self.name} exists only at Nova's microversions {self.versions}. {self.sentence}")
        return ApiError(501, f"{self.name} is not supported. {self.sentence}")


def unsupported(name: str, sentence: str, versions: str = "") -> Unsupported:
    """An entry whose microversions are written `2.6..2.35`, `2.6..`, `..2.35`, `gone` or ``.

    >>> unsupported("x", "Why.", "..2.35").until
    Microversion(major=2, minor=35)
    """
    since, _, until = versions.removeprefix("gone").partition("..")
    return Unsupported(name=name, sentence=sentence, since=_version(since), until=_version(until), gone=versions == "gone")


def _version(text: str) -> Microversion | None:
    major, _, minor = text.partition(".")
    return Microversion(int(major), int(minor)) if text else None


def _parse(table: Mapping[str, str]) -> Iterator[tuple[str, str, Unsupported]]:
    for sentence, lines in table.items():
        for line in lines.strip().splitlines():
            words = line.split()
            at = next(index for index, word in enumerate(words) if word.startswith("/"))
            for method in words[:at]:
                yield method, words[at], unsupported(f"{method} {words[at]}", sentence, "".join(words[at + 1 :]))


UNSUPPORTED: Final = tuple(_parse(_ROUTES))
"""Method, path below `/compute/v2.1`, and what is said, of each route that pinfold does not have."""


def _add(method: str, path: str, entry: Unsupported) -> None:
    async def refuse(version: Version) -> Response:
        raise entry.refuse(version)

    router.add_api_route(path, refuse, methods=[method], include_in_schema=False)


router = Router(prefix=ROOT)
for _row in UNSUPPORTED:
    _add(*_row)
