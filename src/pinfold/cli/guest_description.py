"""Turn the options of `fit` and `guest start` into a guest: its flavor, its image properties and what it boots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pinfold.cli.options import one_of
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import PLAIN
from pinfold.core.request.model import Flavor, Image
from pinfold.drivers.port import Boot
from pinfold.host.description import GuestDescription

if TYPE_CHECKING:
    from pinfold.cli.guest_options import GuestOptions
    from pinfold.config import Configuration

_IMAGE_SUFFIXES = ("", ".qcow2", ".raw", ".img")
_TEMPLATE_SUFFIXES = ("", ".xml")


def describe_guest(configuration: Configuration, options: GuestOptions, name: str | None = None) -> GuestDescription:
    """The guest that the options describe. Without a name it has its flavor's.

    Raises `InvalidRequest` that names the wrong option, file or key.
    """
    from pinfold.core.request.compile import compile_request
    from pinfold.drivers.driver_kind import DeviceCounts
    from pinfold.drivers.registry import kind_of

    flavor = _flavor(configuration, options)
    image = Image(properties=pairs("--image-property", options.image_properties or ()), name=options.image or "")
    named = compile_request(flavor, image).wants.template
    template = _template(configuration, options.template, named)
    boot = _boot(configuration, options)
    try:
        devices = kind_of(configuration.settings.uri).device_counts(template) if template else DeviceCounts()
    except InvalidRequest as error:
        raise InvalidRequest(f"--template {options.template or named}: {error}", key="--template") from error
    request = compile_request(flavor, image, disks=devices.disks + bool(boot.disk), nics=devices.nics)
    if template and not named and request.wants.beside_template != PLAIN:
        raise InvalidRequest(
            "a template brings its machine, devices and limits; the flavor or image asks for some as well, so leave those keys out",
            key="--template",
        )
    if options.disk_format is not None:
        one_of(options.disk_format, ("raw", "qcow2"), "--disk-format")
    if options.virt_type is not None:
        one_of(options.virt_type, ("kvm", "qemu"), "--virt-type")
    return GuestDescription(
        name=(flavor.name or "guest") if name is None else name,
        flavor=flavor.name,
        request=request,
        boot=boot,
        template=template,
        virt_type=options.virt_type or "",
    )


def refuse_without_boot(wanted: GuestDescription) -> None:
    """Raises `InvalidRequest` for a guest that would boot nothing. A template itself says what its guest boots."""
    boot = wanted.boot
    if not (boot.rom or boot.kernel or boot.disk or wanted.template):
        raise InvalidRequest("there is nothing to boot: give --image, --disk-file, --kernel, --rom or --template", key="--image")


def _flavor(configuration: Configuration, options: GuestOptions) -> Flavor:
    """The flavor by name, from JSON, or from --vcpus and --ram. Other options replace parts of a named or JSON flavor."""
    from pinfold.config.flavors import find_flavor

    if options.flavor is not None and options.flavor_json is not None:
        raise InvalidRequest("--flavor and --flavor-json both name a flavor; one of them is allowed", key="--flavor")
    if options.flavor is not None:
        flavor = find_flavor(options.flavors or configuration.flavors_file, options.flavor)
    elif options.flavor_json is not None:
        flavor = _flavor_of_json(options.flavor_json)
    elif options.vcpus is None or options.ram is None:
        raise InvalidRequest("no flavor: give --flavor NAME, --flavor-json FILE, or --vcpus N and --ram MIB", key="--flavor")
    else:
        flavor = Flavor(vcpus=options.vcpus, memory_mib=options.ram)
    specs = dict(flavor.extra_specs) | dict(pairs("--property", options.properties or ()))
    return replace(
        flavor,
        vcpus=flavor.vcpus if options.vcpus is None else options.vcpus,
        memory_mib=flavor.memory_mib if options.ram is None else options.ram,
        disk_gib=flavor.disk_gib if options.disk is None else options.disk,
        extra_specs=tuple(sorted(specs.items())),
    )


def _flavor_of_json(file: str) -> Flavor:
    from pinfold.config.parse import read_text
    from pinfold.core.request.parse import flavor_from_openstack_json

    if file != "-":
        return flavor_from_openstack_json(read_text(file, "flavor"))
    try:
        return flavor_from_openstack_json(sys.stdin.read(1 << 20))
    except UnicodeDecodeError as error:
        raise InvalidRequest("the flavor on standard input is not text in UTF-8", key="--flavor-json") from error


def pairs(option: str, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The `KEY=VALUE` texts of an option, ordered by key. Raises `InvalidRequest` for another form, or for a key given twice.

    >>> pairs("--property", ["hw:cpu_policy=dedicated", "a=b=c"])
    (('a', 'b=c'), ('hw:cpu_policy', 'dedicated'))
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InvalidRequest(f"{option} {text!r} is not allowed; KEY=VALUE is, as in hw:cpu_policy=dedicated", key=option)
        if key.strip() in found:
            raise InvalidRequest(f"{option} {key.strip()} is given twice; once is allowed", key=key.strip())
        found[key.strip()] = value.strip()
    return tuple(sorted(found.items()))


def _boot(configuration: Configuration, options: GuestOptions) -> Boot:
    if options.image and options.disk_file:
        raise InvalidRequest("--image and --disk-file both name a disk; one of them is allowed", key="--image")
    disk = ""
    if options.image:
        disk = _named(options.image, configuration.settings.images_dir, "image", "images_dir", _IMAGE_SUFFIXES)
    elif options.disk_file:
        disk = str(Path(options.disk_file).absolute())
    return Boot(
        rom=_absolute(options.rom),
        kernel=_absolute(options.kernel),
        initrd=_absolute(options.initrd),
        cmdline=options.cmdline or "",
        disk=disk,
        disk_format=options.disk_format or ("qcow2" if disk.endswith(".qcow2") else "raw"),
        iothreads=options.iothreads,
        serial_log=_absolute(options.serial_log),
    )


def _template(configuration: Configuration, name: str | None, named: str) -> str:
    """The text of the template that the option names, or flavor or image (`named`); '' for none."""
    from pinfold.config.parse import read_text
    from pinfold.host import templates

    if named and name not in (None, named):
        raise InvalidRequest(f"--template is {name}, but the flavor or image names template {named}; leave one out", key="--template")
    if named:
        return templates.read(Path(configuration.settings.templates_dir), named)
    if name is None:
        return ""
    return read_text(_named(name, configuration.settings.templates_dir, "template", "templates_dir", _TEMPLATE_SUFFIXES), "template")


def _named(name: str, folder: str, what: str, option: str, suffixes: Sequence[str]) -> str:
    """The path of an image or template: a name without a slash is in the configured directory, anything else is a path."""
    from pinfold.config.find import is_there

    if "/" in name:
        return str(Path(name).absolute())
    for suffix in suffixes:
        path = Path(folder) / (name + suffix)
        if is_there(path, what) and path.is_file():
            return str(path)
    raise InvalidRequest(
        f"there is no {what} {name!r} in {folder} ([pinfold] {option}); a path with a slash names any file", key=f"--{what}"
    )


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""
