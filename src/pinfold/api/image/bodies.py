"""The bodies of changes of images: a new variant, and the operations of a JSON patch. Properties have the rules of property files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, MsgspecError, Struct, UnsetType
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field

from pinfold.api.caller import Caller
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import FIXED_FIELDS, MAX_PROPERTY
from pinfold.core.bounds import MAX_AMOUNT, MAX_IMAGE_PROPERTIES
from pinfold.core.encoding import json_reader
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.request.keys import is_ours
from pinfold.service.image_variants import with_properties
from pinfold.store.image_variants import ImageVariant

PATCH_TYPE: Final = "application/openstack-images-v2.1-json-patch"
EARLIER_PATCH_TYPE: Final = "application/openstack-images-v2.0-json-patch"
MAX_OPERATIONS: Final = 2 * MAX_IMAGE_PROPERTIES
_MAX_NAME: Final = 255
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
PropertyValue = Annotated[str, Field(max_length=MAX_PROPERTY)]


class NewImage(BaseModel):
    """A new variant. Its other keys are properties. `min_disk` is in GiB, `min_ram` in MiB."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, PropertyValue] = Field(init=False)

    name: Annotated[str, Field(max_length=_MAX_NAME)] | None = None
    visibility: Literal["private", "public"] = "private"
    protected: bool = False
    disk_format: Literal["raw", "qcow2", "aki"] = "raw"
    container_format: Literal["bare"] = "bare"
    min_disk: Amount = 0
    min_ram: Amount = 0
    owner: Annotated[str, Field(max_length=255)] | None = None
    os_hidden: Literal[False] = False
    tags: Annotated[list[str], Field(max_length=0)] = Field(default_factory=list)


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of a JSON patch. Source: RFC 6902, as Glance narrows it: the path names one field or property."""

    op: Literal["add", "replace", "remove"]
    path: str
    value: Any | UnsetType = UNSET


class EarlierOperation(Struct, frozen=True, kw_only=True):
    """The same in the earlier form, where the operation is the key of the path. It has one of the three."""

    add: str | None = None
    replace: str | None = None
    remove: str | None = None
    value: Any | UnsetType = UNSET


_read_operations = json_reader(tuple[Operation, ...])
_read_earlier = json_reader(tuple[EarlierOperation, ...])
_OPS: Final[tuple[Literal["add", "replace", "remove"], ...]] = ("add", "replace", "remove")
_CHANGED: Final = {
    "name": "name",
    "visibility": "public",
    "protected": "protected",
    "min_disk": "min_disk_gib",
    "min_ram": "min_ram_mib",
}
"""By field of the image API, the field of a variant."""


def new_variant(asked: NewImage, caller: Caller, variant_id: str) -> ImageVariant:
    """The variant of a body. Raises `ApiError` 403 for what the caller may not set, `InvalidRequest` for its properties."""
    properties = asked.__pydantic_extra__
    for key in properties:
        _check_key(key, caller)
    _check_count(properties)
    if asked.visibility == "public":
        _need_admin_for_public(caller)
    if asked.owner not in (None, caller.project) and not caller.admin:
        raise ApiError(403, "Only an admin makes images for another project; leave owner out.")
    made = ImageVariant(
        id=variant_id,
        project=asked.owner or caller.project,
        name=asked.name or "",
        public=asked.visibility == "public",
        protected=asked.protected,
        disk_format=asked.disk_format,
        min_disk_gib=asked.min_disk,
        min_ram_mib=asked.min_ram,
    )
    return with_properties(made, properties)


def read_patch(body: bytes, kind: str) -> tuple[Operation, ...]:
    """The operations of a body of either type. Raises `InvalidRequest`."""
    try:
        operations = _read_operations(body) if kind == PATCH_TYPE else tuple(map(_in_form, _read_earlier(body)))
    except (MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"the request body is no JSON patch: {error}") from error
    if len(operations) > MAX_OPERATIONS:
        raise InvalidRequest(f"the patch has {len(operations)} operations; at most {MAX_OPERATIONS} are allowed")
    return operations


def _in_form(operation: EarlierOperation) -> Operation:
    given = [(op, path) for op in _OPS if (path := getattr(operation, op)) is not None]
    if len(given) != 1:
        raise InvalidRequest("the request body is no JSON patch: an operation has one of add, replace and remove")
    ((op, path),) = given
    return Operation(op=op, path=path, value=operation.value)


def patched(variant: ImageVariant, operations: Sequence[Operation], caller: Caller) -> ImageVariant:
    """What the operations make of a variant, one after another.

    Raises `ApiError` 403 for a field that stays as it is, `Conflict` for a property that is not there, `InvalidRequest` for a wrong value.
    """
    for operation in operations:
        key = _key(operation.path)
        if key in ("min_disk", "min_ram") or key in FIXED_FIELDS:
            variant = _with_field(variant, key, operation, caller)
        else:
            variant = with_properties(variant, _with_property(dict(variant.properties), key, operation, caller))
    _check_count(dict(variant.properties))
    return variant


def _with_field(variant: ImageVariant, key: str, operation: Operation, caller: Caller) -> ImageVariant:
    if key == "tags" and operation.value == []:
        return variant
    if key not in _CHANGED:
        raise ApiError(403, f"Attribute '{key}' is read-only; {', '.join(_CHANGED)} and properties can be changed.")
    if operation.op == "remove":
        raise ApiError(403, f"Attribute '{key}' cannot be removed.")
    value = operation.value
    if key == "visibility":
        if value == "public" and not variant.public:
            _need_admin_for_public(caller)
        value = _allowed(key, value, value in ("private", "public"), "private and public are") == "public"
    elif key == "protected":
        _allowed(key, value, isinstance(value, bool), "true and false are")
    elif key == "name":
        value = "" if value is None else value
        _allowed(key, value, isinstance(value, str) and len(value) <= _MAX_NAME, f"a text of at most {_MAX_NAME} characters is")
    else:
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_AMOUNT
        _allowed(key, value, whole, f"a whole number from 0 to {MAX_AMOUNT} is")
    return replace(variant, **{_CHANGED[key]: value})


def _with_property(properties: dict[str, str], key: str, operation: Operation, caller: Caller) -> dict[str, str]:
    if operation.op != "add" and key not in properties:
        raise Conflict(f"Property {key} does not exist.")
    if operation.op == "remove":
        return {name: value for name, value in properties.items() if name != key}
    _check_key(key, caller)
    value = operation.value
    right = isinstance(value, str) and len(value) <= MAX_PROPERTY
    return {**properties, key: _allowed(key, value, right, f"a text of at most {MAX_PROPERTY} characters is")}


def _allowed(key: str, value: Any, right: bool, allowed: str) -> Any:
    if not right:
        given = "missing" if value is UNSET else repr(value)[:64]
        raise InvalidRequest(f"{key} is {given}; {allowed} allowed", key=key)
    return value


def _key(path: str) -> str:
    """The field or property that a path names. Source: RFC 6901.

    >>> _key("/hw_cpu_policy"), _key("/a~1b~0c")
    ('hw_cpu_policy', 'a/b~c')
    """
    first, *parts = path.split("/")
    if first or len(parts) != 1 or not parts[0]:
        raise InvalidRequest(f"the path {path[:64]!r} names no field and no property of an image, such as '/name'", key="path")
    return parts[0].replace("~1", "/").replace("~0", "~")


def _check_key(key: str, caller: Caller) -> None:
    if not 1 <= len(key) <= MAX_PROPERTY:
        raise InvalidRequest(f"the property {key[:64]!r} must have a name of 1 to {MAX_PROPERTY} characters", key=key[:64])
    if key in FIXED_FIELDS:
        raise ApiError(403, f"Attribute '{key}' is read-only: the service fills it in.")
    if is_ours(key) and not caller.admin:
        raise ApiError(403, f"The property {key} is for images of admins: it names what only operators give to servers.")


def _check_count(properties: Mapping[str, str]) -> None:
    if len(properties) > MAX_IMAGE_PROPERTIES:
        raise InvalidRequest(f"the image has {len(properties)} properties; at most {MAX_IMAGE_PROPERTIES} are allowed")


def _need_admin_for_public(caller: Caller) -> None:
    if not caller.admin:
        raise ApiError(403, "Only an admin makes an image public; it can be private.")
