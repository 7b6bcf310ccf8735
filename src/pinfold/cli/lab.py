"""`pinfold lab up|down|status`: private libvirt hosts on this machine, for trying. What a lab is made of stands in `pinfold.lab`."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.options import Json
from pinfold.cli.output import show, show_json
from pinfold.core.errors import InvalidRequest
from pinfold.core.hosttext import host
from pinfold.lab import kit
from pinfold.lab.daemon import LabHost, end
from pinfold.lab.folder import LabFolder, LabSpec, labs, reap

DEFAULT_TOPOLOGY: Final = "pack:2 core:8 pu:2 mem:16384"

_SYNTHETIC: Final = "synthetic: pCPUs that this machine lacks are shown; what is asked of them is recorded, not enforced"
_REAL: Final = "the machine's own topology: the kernel enforces every affinity"

app = typer.Typer(help="Private libvirt hosts on this machine, for trying: never its own libvirt.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the lab is called.")]


@app.command()
def up(
    name: Name,
    topology: Annotated[
        str | None,
        typer.Option("--topology", metavar="TEXT", help=f"The topology that the lab shows, such as '{DEFAULT_TOPOLOGY}', the default."),
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="The machine's own topology, in place of a synthetic one.")] = False,
    hosts: Annotated[int, typer.Option("--hosts", metavar="N", min=1, max=16, help="So many hosts, called NAME1, NAME2, …")] = 1,
    no_cgroups: Annotated[
        bool, typer.Option("--no-cgroups", help="Guests without cpuset cgroups (a synthetic lab never has them).")
    ] = False,
    tcg: Annotated[bool, typer.Option("--tcg", help="Hide /dev/kvm: guests are emulated.")] = False,
    as_json: Json = False,
) -> None:
    """Start a lab and print what it takes to use it. Needs root. It runs until `pinfold lab down`."""
    if real and topology is not None:
        raise InvalidRequest("--real and --topology exclude each other: a lab has the machine's own topology or a synthetic one")
    text = None if real else topology or DEFAULT_TOPOLOGY
    names = [name] if hosts == 1 else [f"{name}{number}" for number in range(1, hosts + 1)]
    started: list[LabHost] = []
    try:
        for each in names:
            lab = start_lab(each, text, cgroups=not no_cgroups, kvm=not tcg, detached=True)
            started.append(lab)
    except BaseException:
        for lab in started:
            lab.down()
        raise
    if as_json:
        show_json({"labs": [_document(lab.folder, lab.spec, up=True) for lab in started]})
        return
    for lab in started:
        show(_lines(lab.folder, lab.spec))


@app.command()
def down(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="What the lab is called; left out, with --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every lab on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """End a lab and its guests, and remove its folder."""
    if (name is None) != every:
        raise InvalidRequest("name one lab, or say --all", key="NAME")
    ending = [folder for folder in labs() if every or folder.path.name == name]
    if name is not None and not ending:
        raise InvalidRequest(f"there is no lab {name!r}; `pinfold lab status` lists those that are up", key="NAME")
    for folder in ending:
        end(folder)
    if as_json:
        show_json({"ended": [folder.path.name for folder in ending]})
    else:
        show([f"lab {folder.path.name} is down; its guests have ended" for folder in ending] or ["no lab is up"])


@app.command()
def status(as_json: Json = False) -> None:
    """List the labs that are up. What a killed one left behind is removed first, and named."""
    left = reap()
    found = [(folder, folder.spec()) for folder in labs()]
    if as_json:
        show_json({"labs": [_document(folder, spec, up=folder.held()) for folder, spec in found], "removed": list(left)})
        return
    show([f"lab {name} had been killed; what was left of it is removed" for name in left])
    for folder, spec in found:
        show(_lines(folder, spec))
    if not found:
        show(["no lab is up"])


def start_lab(name: str, text: str | None, *, cgroups: bool, kvm: bool, detached: bool) -> LabHost:
    """A lab that is up, with its configuration, flavors and images; `text` is its topology, None for the machine's own.

    One that is not `detached` ends with this process. Raises `InvalidRequest`, `Conflict` when the name is taken, `Unavailable`.
    """
    shape = None if text is None else host(text)
    lab = LabHost(name, topology=shape, topology_text=text or "", cgroups=cgroups, kvm=kvm, detached=detached).up()
    try:
        pools = kit.machine_pools() if shape is None else kit.pools(shape)
        kit.write(lab.folder, pools, about=f"Lab {name}: {_SYNTHETIC if shape else _REAL}.")
    except BaseException:
        lab.down()
        raise
    return lab


def _document(folder: LabFolder, spec: LabSpec, *, up: bool) -> dict[str, object]:
    return {
        "name": spec.name,
        "up": up,
        "uri": folder.uri,
        "synthetic": spec.synthetic,
        "topology": spec.topology,
        "cgroups": spec.cgroups,
        "kvm": spec.kvm,
        "config": str(folder.configuration),
        "rom": str(folder.path / "idle.rom"),
    }


def _lines(folder: LabFolder, spec: LabSpec) -> list[RenderableType]:
    guests = f"guests run under {'KVM' if spec.kvm else 'TCG'}, {'with' if spec.cgroups else 'without'} cpuset cgroups"
    return [
        f"lab {spec.name} is up ({spec.topology}); {guests}",
        f"  {_SYNTHETIC if spec.synthetic else _REAL}",
        Text(f"  export PINFOLD_CONFIG={folder.configuration}", no_wrap=True),
        Text(f"  pinfold guest start GUEST --flavor share --rom {folder.path}/idle.rom", no_wrap=True),
        Text(f"  virsh -c '{folder.uri}' list", no_wrap=True),
    ]
