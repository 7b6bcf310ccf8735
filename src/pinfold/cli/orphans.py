"""`pinfold guest orphans`: find guests on this host of a service that lost its database, or is gone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from pinfold.cli import options as opt
from pinfold.cli.output import show, show_json
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.encoding import plain
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable

if TYPE_CHECKING:
    from pinfold.agent.client import ServiceClient
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings

_CLOUD = "pinfold"

Remove = Annotated[bool, typer.Option("--remove", help="Stop these guests and forget them; their disks stay.")]
DeleteFiles = Annotated[bool, typer.Option("--delete-files", help="With --remove: delete their disks and serial logs too.")]
Gone = Annotated[bool, typer.Option("--service-is-gone", help="Do not ask the service; every guest of one counts. The agent may not run.")]


def orphans(
    context: typer.Context,
    remove: Remove = False,
    delete_files: DeleteFiles = False,
    service_is_gone: Gone = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """List the guests here that a service started and no longer knows; with --remove, stop and remove them.

    The service is asked with the agent's token. Guests that it knows, guests of `pinfold guest start` and guests that are not ours are left
    alone. Without --remove nothing is changed.
    """
    from pinfold.cli.views.guests import orphans_view
    from pinfold.host import orphans as left
    from pinfold.host import written

    if delete_files and not remove:
        raise InvalidRequest("--delete-files goes with --remove", key="--delete-files")
    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    with open_session(context, configuration) as session:
        # Look at the host first: a guest that the service creates meanwhile is then either not seen or known.
        guests = session.driver.guests()
        known = _nobody(session.settings) if service_is_gone else _known(config, connect)
        found = left.orphans(session.settings, guests, known)
        for orphan in found if remove else ():
            left.remove(session.driver, session.settings, orphan, delete_files=delete_files)
    if as_json:
        rows = [plain(replace(orphan, guest=written.guest(orphan.guest))) for orphan in found]
        show_json({"orphans": rows, "removed": remove, "files_deleted": delete_files})
    else:
        show(orphans_view(found, removed=remove, files_deleted=delete_files))


def _nobody(settings: HostSettings) -> frozenset[str]:
    """No guest is known to any service, by the operator's word. Raises `Conflict` while an agent still works for a service."""
    from pinfold.host.lock import running_agent

    process = running_agent(settings)
    if process:
        raise Conflict(f"--service-is-gone: process {process} is the agent of {settings.uri} and serves a service; stop it first")
    return frozenset()


def _known(config: opt.Config, connect: opt.Connect) -> frozenset[str]:
    """The ids of the guests that the service has on this host, including those whose order cannot be parsed. Raises `Unavailable`."""
    from pinfold.cli.fleet import read_fleet

    settings = read_fleet(config, connect, None, None, quiet=True)
    try:
        with closing(_client(settings)) as client:
            parsed = client.orders(after=-1, wait=0.0)
    except PinfoldError as error:
        raise Unavailable(
            f"the service cannot be asked which guests it knows: {error}; if it is gone for good, --service-is-gone"
        ) from error
    if any(not refused.guest for refused in parsed.refused):
        raise Unavailable(f"the service tells of a guest that cannot be read: {parsed.refused[0].sentence()}")
    return frozenset(order.guest for order in parsed.orders.orders) | frozenset(refused.guest for refused in parsed.refused)


def _client(settings: FleetSettings) -> ServiceClient:
    """A client of the service that the host's agent uses: the configured one, or the `pinfold up` that left a clouds.yaml here."""
    from pinfold.agent.client import ServiceClient, read_token
    from pinfold.cli.service import read_access

    token = read_token(Path(settings.agent.token_file))
    if settings.agent.api_url:
        return ServiceClient(
            settings.agent.api_url, token, ca_file=settings.agent.ca_file, allow_plain_http=settings.agent.allow_plain_http
        )
    url = read_access(Path(settings.host.state_dir, "clouds.yaml"), _CLOUD).url
    return ServiceClient(url, token, certificate=settings.api.tls_certificate, allow_plain_http=True)
