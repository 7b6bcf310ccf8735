"""The action `rebuild`: a server gets a new disk from an image, and keeps its place."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pinfold.api.caller import Caller, caller_of
from pinfold.api.compute.flavors.bodies import BooleanWord
from pinfold.api.compute.names import Name
from pinfold.api.compute.servers.bodies import Metadata, Text, access_addresses
from pinfold.api.compute.servers.boot_source import check_firmware, disks, named_image, named_template
from pinfold.api.compute.servers.config import is_by_image, key_pair_of
from pinfold.api.compute.servers.single import changed, requester, unlocked
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage
from pinfold.api.microversion import Microversion
from pinfold.core.config_drive import MOST_PASSWORD, MOST_USER_DATA, GuestConfig, Kept, decoded_user_data
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.host_features import needed
from pinfold.core.identity import GuestId
from pinfold.core.request.model import GuestRequest
from pinfold.core.request.promises import compile_for_server
from pinfold.core.request.same_place import refuse_another_place
from pinfold.service.guests.edits import refuse_too_much_metadata
from pinfold.store import hosts
from pinfold.store.records import CONFIG_DRIVE, GuestRecord, Rebuild

_SINCE: Final = (
    ("description", "description", 19),
    ("key_name", "key_name", 54),
    ("user_data", "user_data", 57),
    ("trusted_image_certificates", "trusted_image_certificates", 63),
    ("hostname", "hostname", 90),
)
_PERSONALITY_UNTIL: Final = Microversion(2, 56)
_KEY_SHOWN: Final = Microversion(2, 54)
_USER_DATA_SHOWN: Final = Microversion(2, 57)


class RebuildServer(BaseModel):
    """The argument of a rebuild. `key_name` and `user_data` stay if they are not given, and are taken away by null."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    image: Annotated[Text, Field(alias="imageRef", min_length=1)]
    name: Name | None = None
    metadata: Metadata | None = None
    description: Text | None = None
    hostname: Annotated[str, Field(pattern=r"^[a-zA-Z0-9-._]*$", min_length=1, max_length=255)] | None = None
    disk_config: Annotated[Literal["AUTO", "MANUAL"] | None, Field(alias="OS-DCF:diskConfig")] = None
    preserve_ephemeral: BooleanWord = False
    key_name: Text | None = None
    user_data: Annotated[str, Field(max_length=MOST_USER_DATA)] | None = None
    admin_pass: Annotated[str | None, Field(alias="adminPass", max_length=MOST_PASSWORD)] = None
    access_ipv4: Annotated[Text | None, Field(alias="accessIPv4")] = None
    access_ipv6: Annotated[Text | None, Field(alias="accessIPv6")] = None
    personality: Any = None
    trusted_image_certificates: Any = None


def rebuild(server_id: GuestId, argument: object, request: Request, services: ApiServices, version: Microversion) -> JSONResponse:
    """Answer 202 with the server, which is rebuilt from the image of the argument.

    Raises `NotFound`, `InvalidRequest` for an image that asks for another place than the server has, `Conflict` when the server's state
    forbids it, it is locked, or its host's agent cannot do it.
    """
    asked = _parsed(argument, version)
    unlocked(services, request, server_id)
    caller = caller_of(request)
    with services.fleet.events.asked(server_id, "rebuild", requester(request)):
        guest = services.fleet.guests.rebuild(server_id, lambda found: _change(services, caller, found, asked))
    answer: dict[str, Any] = dict(changed(services, request, guest, version))
    if version >= _KEY_SHOWN:
        answer["key_name"] = dict(guest.details).get("key_name") or None
    if version >= _USER_DATA_SHOWN:
        answer["user_data"] = None  # a secret, which no answer shows
        answer.pop("OS-EXT-SRV-ATTR:user_data", None)  # other answers' name for it
    if asked.admin_pass and services.shows_passwords:
        answer["adminPass"] = asked.admin_pass
    return JSONResponse({"server": answer}, status_code=202, headers={"Location": answer["links"][0]["href"]})


def _parsed(argument: object, version: Microversion) -> RebuildServer:
    try:
        asked = RebuildServer.model_validate(argument)
    except ValidationError as error:
        faults = [fault | {"loc": ("body", "rebuild", *fault["loc"])} for fault in error.errors(include_url=False, include_context=False)]
        raise RequestValidationError(faults, body={"rebuild": argument}) from None
    for key, field, minor in _SINCE:
        if field in asked.model_fields_set and version < Microversion(2, minor):
            raise InvalidRequest(f"{key} is accepted from microversion 2.{minor} on", key=key)
    if asked.personality is not None and version > _PERSONALITY_UNTIL:
        raise InvalidRequest("personality is accepted up to microversion 2.56", key="personality")
    for key in ("personality", "trusted_image_certificates"):
        if getattr(asked, key) not in (None, []):
            raise ApiError(501, f"{key} is not supported; what a server is given is its key pair, user data and password.")
    if asked.preserve_ephemeral:
        raise InvalidRequest("preserve_ephemeral is true, but a server has no ephemeral disk that could be kept", key="preserve_ephemeral")
    refuse_too_much_metadata(asked.metadata or {})
    decoded_user_data(asked.user_data or "")
    return asked


def _change(services: ApiServices, caller: Caller, guest: GuestRecord, asked: RebuildServer) -> Rebuild:
    """What the guest becomes. Raises `ApiError` 400, `InvalidRequest`."""
    image = named_image(services, caller, asked.image, guest.flavor)
    if guest.request.wants.template or named_template(guest.flavor, image):
        raise InvalidRequest(
            "a template brings what a server boots, so there is no disk to make anew; delete the server, and create it anew"
        )
    after = compile_for_server(guest.flavor, image.as_image(), disks=disks(guest.flavor, image), nics=guest.request.nics)
    check_firmware(after, image)
    refuse_another_place(guest.request, after)
    _refuse_what_the_host_lacks(services, guest, after)
    details = dict(guest.details)
    config, key_name = _config(services, caller, guest, asked, image)
    changes: dict[str, str | None] = {"image_id": image.id, "key_name": key_name, **access_addresses(asked)}
    if asked.hostname is not None:
        changes["hostname"] = asked.hostname
    if asked.disk_config is not None:
        changes["disk_config"] = asked.disk_config
    if config is not None:
        changes |= dict((CONFIG_DRIVE,))
        config = _named(config, guest, details | {"hostname": changes.get("hostname") or details.get("hostname", "")}, asked)
    return Rebuild(
        image=image.file_of,
        request=after,
        name=asked.name,
        description=asked.description,
        metadata=None if asked.metadata is None else tuple(sorted(asked.metadata.items())),
        details=tuple(sorted(changes.items())),
        config=config,
    )


def _refuse_what_the_host_lacks(services: ApiServices, guest: GuestRecord, after: GuestRequest) -> None:
    if guest.host is None:
        raise Conflict(f"Cannot 'rebuild' instance {guest.id}: it has no host any more")
    with services.database.read() as connection:
        has = frozenset(hosts.get(connection, guest.host).report.features)
    lacking = sorted(needed(after) - has)
    if lacking:
        raise InvalidRequest(
            f"the server's host lacks {' and '.join(lacking)}, which the image asks for; a rebuild keeps the host, so take another image",
            key="imageRef",
        )


def _config(
    services: ApiServices, caller: Caller, guest: GuestRecord, asked: RebuildServer, image: CatalogImage
) -> tuple[GuestConfig | None, str]:
    """What the new config drive holds, without names, and the name of the key pair. A server with a drive gets a new one; one without a
    drive gets one if there is something to put on it.
    """
    given = bool(asked.key_name or asked.user_data or asked.admin_pass or is_by_image(image))
    key_name = dict(guest.details).get("key_name", "")
    if not given and not guest.config_drive:
        return None, key_name
    kept: tuple[Kept, ...] = ()
    config = GuestConfig(name="", hostname="", project=guest.project, admin_pass=asked.admin_pass or "", user_data=asked.user_data or "")
    if guest.config_drive and "user_data" not in asked.model_fields_set:
        kept = (Kept.USER_DATA,)
    if "key_name" not in asked.model_fields_set:
        kept = (*kept, Kept.KEY) if guest.config_drive else kept
    elif asked.key_name:
        pair = key_pair_of(services, caller, asked.key_name)
        config, key_name = replace(config, key_name=pair.name, public_key=pair.public_key), pair.name
    else:
        key_name = ""
    return replace(config, kept=kept), key_name


def _named(config: GuestConfig, guest: GuestRecord, details: dict[str, str], asked: RebuildServer) -> GuestConfig:
    return replace(
        config,
        name=asked.name or guest.name,
        hostname=details["hostname"],
        zone=details.get("zone", ""),
        launch_index=int(details.get("launch_index", "0")),
        metadata=guest.metadata if asked.metadata is None else tuple(sorted(asked.metadata.items())),
    )
