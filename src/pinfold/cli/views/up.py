"""The screen of `pinfold up`: where the service is, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from pinfold.core.printable import shell_word


def up_view(
    url: str,
    clouds_file: str,
    host: str,
    images_dir: str,
    *,
    config: str = "",
    folder: str = "",
    lab: bool = False,
    placement: str = "",
) -> Iterable[RenderableType]:
    """The address, the lines to export, a first server, and what ends with Ctrl-C: with `lab`, the host too. Pure.

    `config` is the value of $PINFOLD_CONFIG with which commands see the same host; '' if they need none. `folder` is that of the command
    `pinfold`, '' if a shell finds it without.
    """
    parts = f"API and the agent of {host}. {placement}" if placement else f"API, Placement, and the agent of {host}."
    lines = [Text.assemble(("pinfold is up", "bold"), f" at {url}: {parts}")]
    if lab:
        lines.append(Text("The host is synthetic, of 2 cells and 32 pCPUs: what is asked of them is recorded, not enforced."))
    lines.append(Text(f"Images come from {images_dir}."))
    lines.append(Text(""))
    lines.append(Text("In another shell:", style="bold"))
    if folder:
        lines.append(Text(f"  export PATH={shell_word(folder)}:$PATH", no_wrap=True))
    if config:
        lines.append(Text(f"  export PINFOLD_CONFIG={shell_word(config)}", no_wrap=True))
    if clouds_file:
        lines += [Text(f"  export OS_CLIENT_CONFIG_FILE={clouds_file}", no_wrap=True), Text("  export OS_CLOUD=pinfold", no_wrap=True)]
    else:
        lines.append(Text(f"  pinfold config clouds --url {url} --no-auth > clouds.yaml", no_wrap=True))
        lines.append(Text("  export OS_CLIENT_CONFIG_FILE=$PWD/clouds.yaml OS_CLOUD=pinfold", no_wrap=True))
    lines += [
        Text("  pinfold flavor create one --vcpus 1 --ram 64 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share", no_wrap=True),
        Text("  pinfold server create vm1 --flavor one --image probe --wait", no_wrap=True),
        Text("  pinfold server show vm1", no_wrap=True),
        Text("  pinfold host map", no_wrap=True),
        Text("`openstack` takes the same exports: pip install python-openstackclient, where it is missing."),
        Text(""),
        Text("Ctrl-C ends pinfold, this lab and its guests." if lab else "Ctrl-C ends pinfold; guests go on."),
    ]
    return lines
