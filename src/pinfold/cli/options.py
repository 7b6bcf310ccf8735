"""The options that several commands share, each with its one wording. Options of one command stand beside it."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; errors are one JSON document on standard error.")]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A pinfold.conf or nova.conf; may be repeated, later ones win. Default: $PINFOLD_CONFIG, then /etc/pinfold/pinfold.conf.",
    ),
]
Connect = Annotated[
    str | None, typer.Option("--connect", "-c", metavar="URI", help="The libvirt to work on, in place of \\[libvirt] connection_uri.")
]

_FLAVOR = "What the guest is"
_BOOT = "What the guest boots"

FlavorName = Annotated[str | None, typer.Option("--flavor", metavar="NAME", help="A flavor of the flavors file.", rich_help_panel=_FLAVOR)]
FlavorsFile = Annotated[
    str | None,
    typer.Option("--flavors", metavar="FILE", help="The flavors file, in place of \\[pinfold] flavors_file.", rich_help_panel=_FLAVOR),
]
FlavorJson = Annotated[
    str | None,
    typer.Option(
        "--flavor-json",
        metavar="FILE",
        help="A flavor as `openstack flavor show -f json` prints it; - reads standard input.",
        rich_help_panel=_FLAVOR,
    ),
]
Vcpus = Annotated[
    int | None, typer.Option("--vcpus", metavar="N", help="Number of vCPUs, in place of the flavor's.", rich_help_panel=_FLAVOR)
]
Ram = Annotated[int | None, typer.Option("--ram", metavar="MIB", help="Memory in MiB, in place of the flavor's.", rich_help_panel=_FLAVOR)]
Disk = Annotated[int | None, typer.Option("--disk", metavar="GIB", help="Disk in GiB, in place of the flavor's.", rich_help_panel=_FLAVOR)]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        "-p",
        metavar="KEY=VALUE",
        help="An extra spec, such as hw:cpu_policy=dedicated; may be repeated.",
        rich_help_panel=_FLAVOR,
    ),
]
ImageProperties = Annotated[
    list[str] | None,
    typer.Option(
        "--image-property",
        metavar="KEY=VALUE",
        help="A property of the image, such as hw_cpu_policy=dedicated; may be repeated.",
        rich_help_panel=_FLAVOR,
    ),
]

Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="NAME",
        help="A disk image by path or by its name in images_dir; the guest writes to an overlay.",
        rich_help_panel=_BOOT,
    ),
]
DiskFile = Annotated[
    str | None,
    typer.Option("--disk-file", metavar="FILE", help="A disk image by path, as --image.", rich_help_panel=_BOOT),
]
DiskFormat = Annotated[
    str | None, typer.Option("--disk-format", metavar="raw|qcow2", help="What the disk is; default: by its name.", rich_help_panel=_BOOT)
]
Kernel = Annotated[str | None, typer.Option("--kernel", metavar="FILE", help="A Linux kernel to boot.", rich_help_panel=_BOOT)]
Initrd = Annotated[str | None, typer.Option("--initrd", metavar="FILE", help="Its initial RAM disk.", rich_help_panel=_BOOT)]
Cmdline = Annotated[str | None, typer.Option("--cmdline", metavar="TEXT", help="Its command line.", rich_help_panel=_BOOT)]
Rom = Annotated[
    str | None, typer.Option("--rom", metavar="FILE", help="A firmware image to run instead of any disk or kernel.", rich_help_panel=_BOOT)
]
Template = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="NAME",
        help="Your own domain XML, by path or by its name in templates_dir; only what places CPUs and memory is replaced in it.",
        rich_help_panel=_BOOT,
    ),
]
VirtType = Annotated[
    str | None,
    typer.Option("--virt-type", metavar="kvm|qemu", help="KVM, or emulation; default: the best there is.", rich_help_panel=_BOOT),
]
Iothreads = Annotated[int, typer.Option("--iothreads", metavar="N", min=0, max=64, help="Number of iothreads.", rich_help_panel=_BOOT)]
