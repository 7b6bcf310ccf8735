"""The screen of `pinfold up`: where the service is, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text


def up_view(url: str, clouds_file: str, host: str, images_dir: str, *, lab: bool = False, placement: str = "") -> Iterable[RenderableType]:
    """The address, the lines to export, a first server, and what Ctrl-C ends: with `lab`, the host too. Pure."""
    parts = f"API and the agent of {host}. {placement}" if placement else f"API, Placement, and the agent of {host}."
    lines = [Text.assemble(("pinfold is up", "bold"), f" at {url}: {parts}")]
    if lab:
        lines.append(Text("The host is synthetic, of 2 cells and 32 pCPUs: what is asked of them is recorded, not enforced."))
    lines.append(Text(f"Images come from {images_dir}."))
    lines.append(Text(""))
    lines.append(Text("In another shell:", style="bold"))
    if clouds_file:
        lines += [Text(f"  export OS_CLIENT_CONFIG_FILE={clouds_file}", no_wrap=True), Text("  export OS_CLOUD=pinfold", no_wrap=True)]
    else:
        lines.append(Text(f"  pinfold config clouds --url {url} --no-auth > clouds.yaml", no_wrap=True))
        lines.append(Text("  export OS_CLIENT_CONFIG_FILE=$PWD/clouds.yaml OS_CLOUD=pinfold", no_wrap=True))
    lines += [
        Text("  openstack flavor create --vcpus 1 --ram 64 --disk 0 --property hw:cpu_policy=dedicated one", no_wrap=True),
        Text("  openstack server create --flavor one --image probe --no-network --wait vm1", no_wrap=True),
        Text("  openstack server show vm1", no_wrap=True),
        Text(""),
        Text("Ctrl-C ends pinfold, this lab and its guests." if lab else "Ctrl-C ends pinfold; guests go on."),
    ]
    return lines
