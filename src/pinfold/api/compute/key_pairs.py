"""Key pairs in the Compute API; before microversion 2.92 the service also makes them.

Each belongs to an account or a user of Keystone. As in Nova, that one has it in every project.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired

from fastapi import Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import Link, closed, since
from pinfold.api.router import Router
from pinfold.api.text_pattern import TextPattern
from pinfold.core.errors import InvalidRequest
from pinfold.service.key_pairs import MOST_KEY
from pinfold.store.records import KeyPairRecord

router = Router(prefix=f"{ROOT}/os-keypairs", tags=["key pairs"])

_TYPED: Final = Microversion(2, 2)
_FOR_USERS: Final = Microversion(2, 10)
_PAGED: Final = Microversion(2, 35)
_IMPORT_ONLY: Final = Microversion(2, 92)
"""From here on a key pair is never made by the service, and its name may hold `@` and `.`."""

KeyPairName = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(
        pattern=r"^[a-zA-Z0-9_@.-]([a-zA-Z0-9 _@.-]*[a-zA-Z0-9_@.-])?$",
        allowed="a key pair's name has letters, digits, blanks and @._- and no blanks at its ends",
    ),
]


class NewKeyPair(RequestBody):
    """The body of a create: a public key to import, or before microversion 2.92 none."""

    name: KeyPairName
    public_key: Annotated[str, Field(max_length=MOST_KEY)] | None = None
    type: Literal["ssh", "x509"] | None = None
    user_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class CreateKeyPair(RequestBody):
    """The envelope of a create."""

    keypair: NewKeyPair


@closed
class KeyPairInBrief(TypedDict):
    """A key pair in a listing."""

    name: str
    public_key: str
    fingerprint: str
    type: NotRequired[Annotated[Literal["ssh"], since(2)]]


@closed
class CreatedKeyPair(KeyPairInBrief):
    """A key pair that was just created. `private_key` is there only if the service made the pair, and is not kept."""

    user_id: str
    private_key: NotRequired[str]


@closed
class KeyPairInFull(KeyPairInBrief):
    """One key pair."""

    user_id: str
    id: int
    deleted: bool
    created_at: str
    updated_at: None
    deleted_at: None


@closed
class KeyPairListed(TypedDict):
    """The envelope of a key pair in a listing."""

    keypair: KeyPairInBrief


@closed
class KeyPairList(TypedDict):
    """The key pairs of an account."""

    keypairs: list[KeyPairListed]
    keypairs_links: NotRequired[Annotated[list[Link], since(35)]]


@closed
class KeyPairCreated(TypedDict):
    """The created key pair."""

    keypair: CreatedKeyPair


@closed
class KeyPairShown(TypedDict):
    """One key pair."""

    keypair: KeyPairInFull


UserId = Annotated[str | None, Query(max_length=255, description="From microversion 2.10 on: another account's key pairs, for admins.")]


@router.get("")
def list_key_pairs(
    request: Request, services: Services, version: Version, user_id: UserId = None, limit: Limit = None, marker: str | None = None
) -> KeyPairList:
    """The account's key pairs, by name."""
    found = services.fleet.key_pairs.all(_account(request, user_id, version))
    if version < _PAGED:
        return {"keypairs": [{"keypair": _brief(row, version)} for row in found]}
    shown = sized(after_marker(found, [row.name for row in found], marker), limit)
    listing: KeyPairList = {"keypairs": [{"keypair": _brief(row, version)} for row in shown]}
    if more := next_page(request, "os-keypairs", shown, limit, shown[-1].name if shown else None):
        listing["keypairs_links"] = more
    return listing


@router.post("", status_code=201, responses={200: {"model": KeyPairCreated}, 501: {}})
def create_key_pair(body: CreateKeyPair, request: Request, response: Response, services: Services, version: Version) -> KeyPairCreated:
    """Import a public key; before microversion 2.92 without one, make a pair. 409 when the account has that name."""
    asked = body.keypair
    account = _account(request, asked.user_id, version)
    if asked.type is not None and version < _TYPED:
        raise InvalidRequest("type is accepted from microversion 2.2 on", key="type")
    if asked.type == "x509":
        raise ApiError(501, "The key pair type 'x509' is not supported, only 'ssh'.")
    if version < _IMPORT_ONLY and any(each in asked.name for each in "@."):
        raise InvalidRequest("Keypair data is invalid: the characters @ and . are accepted in names from microversion 2.92 on", key="name")
    made: dict[str, Any]
    if asked.public_key is None and version >= _IMPORT_ONLY:
        raise InvalidRequest("Invalid input for field/attribute keypair. 'public_key' is a required property", key="public_key")
    if asked.public_key is None:
        pair = services.fleet.key_pairs.make(account, asked.name)
        made = {**_brief(pair.record, version), "user_id": account, "private_key": pair.private_key}
    else:
        made = {**_brief(services.fleet.key_pairs.add(account, asked.name, asked.public_key), version), "user_id": account}
    response.status_code = 200 if version < _TYPED else 201
    return {"keypair": made}  # type: ignore[typeddict-item]


@router.get("/{name}")
def show_key_pair(name: str, request: Request, services: Services, version: Version, user_id: UserId = None) -> KeyPairShown:
    """One key pair of the account."""
    row = services.fleet.key_pairs.get(_account(request, user_id, version), name)
    return {
        "keypair": {
            **_brief(row, version),
            "user_id": row.account,
            "id": row.id,
            "deleted": False,
            "created_at": micro_instant(row.created),
            "updated_at": None,
            "deleted_at": None,
        }
    }


@router.delete("/{name}", status_code=204, response_class=Response, responses={202: {}})
def delete_key_pair(name: str, request: Request, services: Services, version: Version, user_id: UserId = None) -> Response:
    """Delete a key pair. Servers keep their copy of the key."""
    services.fleet.key_pairs.remove(_account(request, user_id, version), name)
    return Response(status_code=202 if version < _TYPED else 204)


def _account(request: Request, user_id: str | None, version: Microversion) -> str:
    """The account whose key pairs are meant: the caller's, or for an admin that of `user_id`."""
    caller = caller_of(request)
    if user_id is None or user_id == caller.user:
        return caller.user
    if version < _FOR_USERS:
        raise InvalidRequest("user_id is accepted from microversion 2.10 on", key="user_id")
    if not caller.admin:
        raise ApiError(403, f"The account {caller.name} may see its own key pairs only.")
    return user_id


def _brief(row: KeyPairRecord, version: Microversion) -> KeyPairInBrief:
    shown: KeyPairInBrief = {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}
    if version >= _TYPED:
        shown["type"] = "ssh"
    return shown
