"""What a new server boots: its image, or the template that its flavor or image names, and what cannot stand beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pinfold.api.caller import Caller
from pinfold.api.compute.servers.bodies import NewServer
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.image.catalog import CatalogImage
from pinfold.api.image.variants import refuse_without_file, visible_image
from pinfold.core.config_drive import GuestConfig
from pinfold.core.errors import InvalidRequest, NotFound
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.store.records import FlavorRecord

_TEMPLATE: Final = "pinfold:template"
_NO_IMAGE: Final = CatalogImage(id="", name="", path="", suffix=".raw", size=0, modified=datetime.fromtimestamp(0, UTC))


def named_template(flavor: Flavor, image: CatalogImage) -> str:
    """The template that flavor or image names, '' for none. The request checks its name, and that they agree."""
    return dict(image.properties).get(_TEMPLATE) or dict(flavor.extra_specs).get(_TEMPLATE, "")


def image_of(services: ApiServices, caller: Caller, asked: NewServer, flavor: Flavor) -> CatalogImage:
    """The image of a new server; an empty one if the flavor names a template.

    Raises `ApiError` 400 if there is no such image, `InvalidRequest` if the server would boot nothing, if the flavor is too small for the
    image, and for an image that would not be used beside a template.
    """
    reference = asked.image or next((device.uuid for device in asked.block_device_mapping_v2), "")
    if not reference:
        if named_template(flavor, _NO_IMAGE):
            return _NO_IMAGE
        raise InvalidRequest("there is nothing to boot: imageRef, or a block device with the uuid of an image, is required", key="imageRef")
    found = named_image(services, caller, reference, flavor)
    if named_template(flavor, found) and _TEMPLATE not in dict(found.properties):
        raise InvalidRequest(
            f"the flavor names a template, which brings what the server boots, so the image {found.name} would not be used; create the "
            f"server without an image, or from one with the property {_TEMPLATE}",
            key=_TEMPLATE,
        )
    return found


def named_image(services: ApiServices, caller: Caller, reference: str, flavor: Flavor) -> CatalogImage:
    """The image with that id, or with an address that ends with it.

    Raises `ApiError` 400 if the caller sees none, or if it has no file; `InvalidRequest` if the flavor is too small for it.
    """
    image_id = reference.rstrip("/").rsplit("/", 1)[-1]
    try:
        found = visible_image(services, caller, image_id)
    except NotFound:
        raise ApiError(400, f"Image {image_id[:255]} could not be found.") from None
    refuse_without_file(found)
    _check_size(flavor, found)
    return found


def disks(flavor: Flavor, image: CatalogImage) -> int:
    """How many disks the service gives the guest: the one of its image, or an empty one if the flavor has a size; none for a ROM, a kernel
    or a template.
    """
    if named_template(flavor, image):
        return 0
    return 1 if image.suffix in (".raw", ".img", ".qcow2") or flavor.disk_gib else 0


def refuse_more_disks(row: FlavorRecord) -> None:
    """Raise `InvalidRequest` for a flavor with swap or ephemeral space: a server has one disk of its image, and would get neither."""
    for key, unit in (("ephemeral", "GiB of ephemeral space"), ("swap", "MiB of swap")):
        amount = dict(row.details).get(key, "0")
        if amount != "0":
            raise InvalidRequest(
                f"the flavor {row.flavor.name} has {amount} {unit}, but a server gets no disk beside that of its image; use a flavor "
                "without, and give the server a larger disk",
                key=key,
            )


def check_boot(asked: NewServer, request: GuestRequest, image: CatalogImage, config: GuestConfig | None) -> None:
    """Raise `InvalidRequest` for a ROM with UEFI, and for interfaces or a config drive beside a template."""
    check_firmware(request, image)
    if not request.wants.template:
        return
    if isinstance(asked.networks, list) and asked.networks:
        raise InvalidRequest("a template brings its interfaces, so networks must be none", key="networks")
    if config is not None:
        raise InvalidRequest(
            "a template brings its disks, so the server gets no config drive; leave out the key, user data, password and config_drive",
            key="config_drive",
        )


def check_firmware(request: GuestRequest, image: CatalogImage) -> None:
    """Raise `InvalidRequest` for a ROM with UEFI."""
    if request.wants.uefi and image.suffix == ".rom":
        said = f"the image's hw_firmware_type is 'uefi', but {image.name} is a ROM, which takes the place of the firmware; it must be bios"
        raise InvalidRequest(said, key="hw_firmware_type")


def _check_size(flavor: Flavor, image: CatalogImage) -> None:
    if flavor.memory_mib < image.min_ram_mib:
        raise InvalidRequest(f"Flavor's memory is too small for the image: {flavor.memory_mib} MiB, {image.min_ram_mib} MiB needed")
    if 0 < flavor.disk_gib < image.min_disk_gib:
        raise InvalidRequest(f"Flavor's disk is too small for the image: {flavor.disk_gib} GiB, {image.min_disk_gib} GiB needed")
