"""`pinfold fit`: show where a guest would go, or why it does not fit. It starts and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import structs

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.guest_options import GuestOptions, takes_guest_options
from pinfold.cli.output import show, show_json, write
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.identity import GuestId

if TYPE_CHECKING:
    from pinfold.cli.trial_host import TrialHost
    from pinfold.config import Configuration
    from pinfold.host.description import GuestDescription

_NO_GUEST: Final = GuestId("00000000-0000-0000-0000-000000000000")


def _other(name: str, metavar: str, words: str) -> Any:
    return typer.Option(name, metavar=metavar, help=words, rich_help_panel="Another host than this one")


Capabilities = Annotated[
    str | None, _other("--capabilities", "FILE", "An empty host with these libvirt capabilities (`virsh capabilities`).")
]
HostText = Annotated[str | None, _other("--host-text", "TEXT", 'An empty host of this shape, such as "pack:2 cell:1 core:8 pu:2".')]
Shared = Annotated[str | None, _other("--shared", "CPULIST", "Its shared pool; given one pool, none is taken from the configuration.")]
Dedicated = Annotated[str | None, _other("--dedicated", "CPULIST", "Its dedicated pool.")]
Overhead = Annotated[str | None, _other("--overhead", "CPULIST", "Its overhead pool; default: the shared pool.")]
Xml = Annotated[bool, typer.Option("--xml", help="Print the domain XML that a start would use.")]


@takes_guest_options
def fit(
    context: typer.Context,
    service_flavor: Annotated[
        str | None,
        typer.Argument(
            metavar="FLAVOR", help="A flavor of the service: ask its scheduler, over all its hosts.", autocompletion=completion.flavors
        ),
    ] = None,
    guest: GuestOptions = GuestOptions(),
    capabilities: Capabilities = None,
    host_text: HostText = None,
    shared: Shared = None,
    dedicated: Dedicated = None,
    overhead: Overhead = None,
    xml: Xml = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show where a guest would go, or why it does not fit; nothing is started.

    On this host, on another one that is described by a file or a text, or, with FLAVOR, on the hosts of the service.

    Exit status 0: it fits. 1: it does not, and the reasons are printed.
    """
    if service_flavor is not None:
        from pinfold.cli.service_fit import ask_service

        ask_service(service_flavor, guest.image or "", config, as_json=as_json)
        return
    from pinfold.cli.guest_description import describe_guest

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json)
    configuration = _with_pools(configuration, shared=shared, dedicated=dedicated, overhead=overhead)
    wanted = describe_guest(configuration, guest)
    if capabilities or host_text:
        from pinfold.cli.trial_host import trial_host

        other = trial_host(configuration.settings, capabilities, host_text)
        _answer(other, configuration, wanted, xml=xml, as_json=as_json)
        return
    from pinfold.cli.trial_host import TrialHost
    from pinfold.host.survey import survey

    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
        here = TrialHost(state=seen.state, definition=session.driver.definition, warnings=seen.warnings)
        _answer(here, configuration, wanted, xml=xml, as_json=as_json)


def _answer(
    host: TrialHost,
    configuration: Configuration,
    wanted: GuestDescription,
    *,
    xml: bool,
    as_json: bool,
) -> None:
    from pinfold.cli.views.fit import fit_view, refusal_view
    from pinfold.core.encoding import plain
    from pinfold.core.fit.answer import NoFit
    from pinfold.core.fit.engine import fit as find_fit
    from pinfold.core.fit.written import answer_of
    from pinfold.host.description import placed

    found = find_fit(wanted.request, host.state, configuration.settings.strategy)
    refused = isinstance(found, NoFit)
    if not as_json:
        for warning in host.warnings:
            warn(warning)
    if as_json:
        document = plain(answer_of(found, host.state.name, not_acted_upon=wanted.request.not_acted_upon, warnings=tuple(host.warnings)))
        show_json(document | ({"xml": host.definition(placed(wanted, found, _NO_GUEST))} if xml and not isinstance(found, NoFit) else {}))
    elif isinstance(found, NoFit):
        show(refusal_view(found, host.state.name))
    elif xml:
        write(host.definition(placed(wanted, found, _NO_GUEST)))
    else:
        show(fit_view(found, wanted.request, host.state))
    if refused:
        raise typer.Exit(ExitStatus.REFUSED)


def _with_pools(configuration: Configuration, *, shared: str | None, dedicated: str | None, overhead: str | None) -> Configuration:
    """The configuration with the pools from the options. If one is given, none is taken from the files."""
    from pinfold.core.cpuset import CpuSet
    from pinfold.core.pools import PoolConfig

    if shared is None and dedicated is None and overhead is None:
        return configuration
    sets = [None if text is None else CpuSet.parse(text) for text in (shared, dedicated, overhead)]
    pools = PoolConfig(shared=sets[0], dedicated=sets[1], overhead=sets[2])
    return replace(configuration, settings=structs.replace(configuration.settings, pools=pools))
