"""`pinfold lab up|down|status`: run private libvirt hosts on this machine for trying things out. `pinfold.lab` implements them."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.options import Json
from pinfold.cli.output import show, show_json
from pinfold.core.errors import InvalidRequest, PinfoldError, Unavailable
from pinfold.core.hosttext import host
from pinfold.lab import user_files
from pinfold.lab.daemon import LabHost, end
from pinfold.lab.folder import LabFolder, LabListing, list_labs, reap
from pinfold.lab.record import LabSpec, NoRecordError

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
    """Start a lab and print how to use it. Needs root. It runs until `pinfold lab down`."""
    if real and topology is not None:
        raise InvalidRequest("--real and --topology exclude each other: a lab has the machine's own topology or a synthetic one")
    text = None if real else topology or DEFAULT_TOPOLOGY
    names = [name] if hosts == 1 else [f"{name}{number}" for number in range(1, hosts + 1)]
    started: list[LabHost] = []
    try:
        for each in names:
            lab = start_lab(each, text, cgroups=not no_cgroups, kvm=not tcg, detached=True, fleet=name if hosts > 1 else "")
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


def lab_names() -> list[str]:
    """The names that `lab down` accepts: labs, and groups of several hosts. It never fails, because shells call it."""
    try:
        seen = list_labs(anyones=True).labs
    except PinfoldError:
        return []
    return sorted({spec.name for _, spec in seen} | {spec.fleet for _, spec in seen if spec.fleet})


@app.command()
def down(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="What the lab is called, or what its hosts were started as; left out, with --all.",
            autocompletion=lab_names,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every lab on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Stop a lab and its guests, and remove its folder. The NAME of `lab up NAME --hosts N` stops all its hosts. Needs root."""
    if (name is None) != every:
        raise InvalidRequest("name one lab, or say --all", key="NAME")
    seen = _found_as_root("down")
    ending = [folder for folder, spec in seen.labs if every or name in (spec.name, spec.fleet)]
    if name is not None and not ending:
        ending = [_unlisted(name)]
    for folder in ending:
        end(folder)
    problems = seen.problems if every else ()
    if as_json:
        show_json({"ended": [folder.path.name for folder in ending], "problems": list(problems)})
    else:
        show([f"lab {folder.path.name} is down; its guests have ended" for folder in ending] or ["no lab is up"])
        show(problems)


@app.command()
def status(as_json: Json = False) -> None:
    """List the labs that are up. Leftovers of killed labs are removed first, and named. Needs root."""
    _found_as_root("status")
    left = reap()
    seen = list_labs().labs
    if as_json:
        labs = [_document(folder, spec, up=folder.held()) for folder, spec in seen]
        show_json({"labs": labs, "removed": list(left.removed), "problems": list(left.problems)})
        return
    show([f"lab {name} had been killed; what was left of it is removed" for name in left.removed])
    show(left.problems)
    running = [(folder, spec) for folder, spec in seen if folder.held()]
    for folder, spec in running:
        show(_lines(folder, spec))
    if not running:
        show(["no lab is up"])


def _unlisted(name: str) -> LabFolder:
    """A lab that is up although its record is damaged: its keeper process knows its state. Raises `InvalidRequest` for any other name."""
    folder = LabFolder.named(name)
    try:
        if not folder.held():
            folder.spec()
    except NoRecordError as error:
        raise InvalidRequest(f"there is no lab {name!r}; `pinfold lab status` lists those that are up", key="NAME") from error
    return folder


def _found_as_root(command: str) -> LabListing:
    """The labs. Raises `Unavailable` for a user other than root, unless there is nothing that root would see."""
    seen = list_labs()
    if os.geteuid() != 0 and seen != LabListing():
        raise Unavailable(f"`pinfold lab {command}` needs root, as `pinfold lab up` does: labs are root's")
    return seen


def start_lab(name: str, text: str | None, *, cgroups: bool, kvm: bool, detached: bool, fleet: str = "") -> LabHost:
    """Start a lab and return it, with its configuration, flavors and images. `text` is its topology, None for the machine's own.

    A lab that is not `detached` ends with this process. `fleet` is the name of the group of hosts that it is part of. Raises
    `InvalidRequest`, `Conflict` when the name is taken, `Unavailable`.
    """
    shape = None if text is None else host(text)
    lab = LabHost(name, topology=shape, topology_text=text or "", cgroups=cgroups, kvm=kvm, detached=detached, fleet=fleet).up()
    try:
        pools = user_files.machine_pools() if shape is None else user_files.pools(shape)
        user_files.write(lab.folder, pools, about=f"Lab {name}: {_SYNTHETIC if shape else _REAL}.")
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
