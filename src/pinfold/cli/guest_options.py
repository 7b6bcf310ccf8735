"""The options that describe a guest, shared by `fit` and `guest start`. `guest_description` turns them into a guest."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Final, get_type_hints

import typer

from pinfold.cli import completion

_flavor: Final = partial(typer.Option, rich_help_panel="What the guest is")
_boot: Final = partial(typer.Option, rich_help_panel="What the guest boots")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """The options that describe a guest, as given on the command line; None if not given."""

    flavor: Annotated[
        str | None, _flavor("--flavor", metavar="NAME", help="A flavor of the flavors file.", autocompletion=completion.file_flavors)
    ] = None
    flavors: Annotated[str | None, _flavor("--flavors", metavar="FILE", help="The flavors file, in place of \\[pinfold] flavors_file.")] = (
        None
    )
    flavor_json: Annotated[
        str | None,
        _flavor("--flavor-json", metavar="FILE", help="A flavor as `openstack flavor show -f json` prints it; - reads standard input."),
    ] = None
    vcpus: Annotated[int | None, _flavor("--vcpus", metavar="N", min=1, help="Number of vCPUs, in place of the flavor's.")] = None
    ram: Annotated[int | None, _flavor("--ram", metavar="MIB", min=1, help="Memory in MiB, in place of the flavor's.")] = None
    disk: Annotated[int | None, _flavor("--disk", metavar="GIB", min=0, help="Disk in GiB, in place of the flavor's.")] = None
    properties: Annotated[
        list[str] | None,
        _flavor("--property", "-p", metavar="KEY=VALUE", help="An extra spec, such as hw:cpu_policy=dedicated; may be repeated."),
    ] = None
    image_properties: Annotated[
        list[str] | None,
        _flavor("--image-property", metavar="KEY=VALUE", help="A property of the image, such as hw_cpu_policy=dedicated; may be repeated."),
    ] = None
    image: Annotated[
        str | None,
        _boot("--image", metavar="NAME", help="A disk image by path or by its name in images_dir; the guest writes to an overlay."),
    ] = None
    disk_file: Annotated[str | None, _boot("--disk-file", metavar="FILE", help="A disk image by path, as --image.")] = None
    disk_format: Annotated[str | None, _boot("--disk-format", metavar="raw|qcow2", help="What the disk is; default: by its name.")] = None
    kernel: Annotated[str | None, _boot("--kernel", metavar="FILE", help="A Linux kernel to boot.")] = None
    initrd: Annotated[str | None, _boot("--initrd", metavar="FILE", help="Its initial RAM disk.")] = None
    cmdline: Annotated[str | None, _boot("--cmdline", metavar="TEXT", help="Its command line.")] = None
    rom: Annotated[str | None, _boot("--rom", metavar="FILE", help="A firmware image to run instead of any disk or kernel.")] = None
    template: Annotated[
        str | None,
        _boot(
            "--template",
            metavar="NAME",
            help="Your own domain XML, by path or by its name in templates_dir; only what places CPUs and memory is replaced in it.",
        ),
    ] = None
    virt_type: Annotated[str | None, _boot("--virt-type", metavar="kvm|qemu", help="KVM, or emulation; default: the best there is.")] = None
    iothreads: Annotated[int, _boot("--iothreads", metavar="N", min=0, max=64, help="Number of iothreads.")] = 0
    serial_log: Annotated[str | None, _boot("--serial-log", metavar="FILE", help="The file for the guest's serial console.")] = None


def takes_guest_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its parameter `guest` replaced by the options of `GuestOptions`, in their order.

    Typer reads a command's options from its signature and cannot expand one parameter into several options.
    """
    hints = get_type_hints(GuestOptions, include_extras=True)

    @wraps(command)
    def run(**given: Any) -> None:
        guest = GuestOptions(**{name: given.pop(name) for name in hints})
        command(guest=guest, **given)

    signature = inspect.signature(command, eval_str=True)
    spread: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name != "guest":
            spread.append(parameter)
            continue
        own = inspect.signature(GuestOptions).parameters
        spread += [parameter.replace(name=name, default=own[name].default, annotation=hint) for name, hint in hints.items()]
    run.__signature__ = signature.replace(parameters=spread)  # type: ignore[attr-defined]
    return run
