"""`pinfold nova`: account overhead in a Nova cloud that stays as it is. `core.nova` decides, and the operator runs what is printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import structs

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.output import show, show_json, waiting, write
from pinfold.cli.session import open_session, read_configuration

if TYPE_CHECKING:
    from pinfold.accounting.openstack_command import OpenstackCommand
    from pinfold.config import Configuration
    from pinfold.core.host import HostState
    from pinfold.core.nova.flavors import NovaFlavor

app = typer.Typer(
    help="Account overhead in a Nova cloud: write a node's provider configuration, print commands for flavors, check both.",
    no_args_is_help=True,
)

Cloud = Annotated[
    str | None,
    typer.Option("--cloud", metavar="NAME", help="The cloud of clouds.yaml that the openstack client asks; default: $OS_CLOUD and so on."),
]
FlavorJson = Annotated[
    str | None,
    typer.Option(
        "--flavor-json", metavar="FILE", help="What `openstack flavor list --all --long -f json` printed, in place of asking the cloud."
    ),
]
Nics = Annotated[int, typer.Option("--nics", metavar="N", min=0, max=1024, help="The network interfaces that a guest is counted with.")]


@app.command("provider-config")
def provider_config(
    context: typer.Context,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the file (mode 0644, *.yaml); default: print it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The resource provider by name; default: the node that reads the file.")
    ] = None,
    uuid: Annotated[str | None, typer.Option("--uuid", metavar="UUID", help="The resource provider by UUID.")] = None,
    capabilities: Annotated[
        str | None,
        typer.Option("--capabilities", metavar="FILE", help="The node as `virsh capabilities` printed it there, in place of this host."),
    ] = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Write the file from which nova-compute takes the inventory and the trait of this node's overhead pool.

    The pool is cpu_shared_set of nova.conf; its millicpu are counted by \\[overhead], as pinfold counts its own. Comments say what becomes
    of cpu_allocation_ratio. Nova reads the file when nova-compute starts.
    """
    from pinfold.core.nova import provider_config as written
    from pinfold.host.nova_accounting import check_settings, needed_inventory
    from pinfold.host.nova_accounting import write as write_file

    who = written.identification(uuid, name)
    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    check_settings(configuration.settings)
    host = _host(context, configuration, capabilities, quiet=as_json)
    inventory = asdict(needed_inventory(host, configuration.settings))
    ratio = written.ratio(host)
    advice = "" if ratio is None else written.ratio_sentence(ratio, host.pools.shared)
    text = written.text(
        inventory, who, ("The overhead pool of this node, written by pinfold nova provider-config.", *([advice] * bool(advice)))
    )
    warnings = () if output is None else write_file(text, output)
    if as_json:
        now = None if ratio is None else {"before": ratio.before, "after": ratio.after}
        show_json({"file": output, "yaml": text, "inventory": inventory, "cpu_allocation_ratio": now, "warnings": list(warnings)})
        return
    for sentence in warnings:
        warn(sentence)
    if output is None:
        write(text)
    else:
        show([f"{output}: {inventory['total']} millicpu; nova-compute reads it when it starts", *([advice] * bool(advice))])


@app.command("flavors")
def flavors_(
    cloud: Cloud = None,
    flavor_json: FlavorJson = None,
    remove: Annotated[bool, typer.Option("--remove", help="Print the commands that stop flavors from booking.")] = False,
    nics: Nics = 1,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Print the commands that make flavors with pinned vCPUs and hw:emulator_threads_policy=share book the overhead pool.

    Flavors that are right already need no command. Nothing is changed; the commands are for a shell. The amounts follow the rates of
    \\[overhead]: one disk, one more each for ephemeral space and swap, and --nics.
    """
    from pinfold.core.nova import flavors as offers
    from pinfold.core.printable import shown

    configuration = read_configuration(config, None, only_looks=True, quiet=as_json, audits=True)
    client = _client(cloud)
    found = flavors_of_cloud(client, flavor_json)
    needed = offers.removals(found) if remove else offers.changes(found, configuration.settings.limits.rates, nics)
    commands = [(change, offers.command(change, found, client.words)) for change in needed]
    if as_json:
        show_json({"flavors": [{"id": c.flavor.id, "name": c.flavor.name, "why": c.why, "command": command} for c, command in commands]})
        return
    done = "# no flavor books the overhead pool\n" if remove else "# every flavor books what its guests need\n"
    write("".join(f"# flavor {shown(change.flavor.name)} {change.why}\n{command}\n" for change, command in commands) or done)


@app.command("check")
def check_(
    context: typer.Context,
    cloud: Cloud = None,
    flavor_json: FlavorJson = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name of this node's resource provider; default: the host's name.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Show what is left to remove, and how.")] = False,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands alone, for a shell.")] = False,
    nics: Nics = 1,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Check that this node, Placement and the flavors agree on the overhead pool, and that every guest books it; nothing is changed.

    Each difference comes with the command of the openstack client that repairs it, if there is one. A guest that books nothing is healed by
    its whole allocation with the millicpu added. Exit status 0: all agree. 1: something does not; with --remove: something is left.
    """
    from pinfold.cli.views.nova import check_document, check_view
    from pinfold.core.nova.accounting import disagreements, remains, unbooked
    from pinfold.host.nova_accounting import check_settings, node_of, provider_names
    from pinfold.host.survey import survey

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    settings = configuration.settings
    check_settings(settings)
    client = _client(cloud)
    with open_session(context, configuration) as session:
        seen = survey(session.driver, settings)
        names = provider_names(settings, name, local=session.driver.local)
    with waiting("asking the cloud …"):
        flavors, provider = flavors_of_cloud(client, flavor_json), client.provider(names)
        node = node_of(seen, settings, nics)
        held = client.allocations(() if remove else (guest.id for guest in unbooked(node, provider)))
    found = remains(provider, flavors, client.words) if remove else disagreements(node, provider, flavors, held, client.words)
    if as_json:
        show_json(check_document(node, provider, found))
    elif commands:
        write("".join(f"{one.command}\n" for one in found if one.command))
    else:
        show(check_view(node, provider, found, removal=remove))
    if found:
        raise typer.Exit(ExitStatus.REFUSED)


def _host(context: typer.Context, configuration: Configuration, capabilities: str | None, *, quiet: bool) -> HostState:
    """The node with its pools: this host, or the one that a file describes. Warnings about the pools go to standard error."""
    from pinfold.cli.trial_host import trial_host
    from pinfold.host.survey import survey

    if capabilities:
        other = trial_host(configuration.settings, capabilities, None)
        host, warnings = other.state, other.warnings
    else:
        with open_session(context, configuration) as session:
            seen = survey(session.driver, session.settings)
        host, warnings = seen.state, seen.warnings
    for sentence in () if quiet else warnings:
        warn(sentence)
    return structs.replace(host, limits=configuration.settings.limits)


def _client(cloud: str | None) -> OpenstackCommand:
    from pinfold.accounting.openstack_command import OpenstackCommand

    return OpenstackCommand(cloud)


def flavors_of_cloud(client: OpenstackCommand, file: str | None) -> tuple[NovaFlavor, ...]:
    """The flavors in the file; without one, those that the cloud has."""
    from pinfold.config.parse import read_text
    from pinfold.core.nova.flavors import flavors_of

    if file is not None:
        return flavors_of(read_text(file, "flavor file"), f"flavor file {file}")
    return flavors_of(client.flavors(), "the cloud's answer")
