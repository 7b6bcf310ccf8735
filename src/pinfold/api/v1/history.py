"""The last hour of a host in `/v1`. Its agent has the samples and is asked for them when somebody asks here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Query

from pinfold.api.agent_answer import agent_answer
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.api.v1.hosts import find
from pinfold.core.encoding import decoder, plain
from pinfold.core.errors import Unavailable
from pinfold.core.history import HostHistory, since
from pinfold.store import history
from pinfold.store.records import HostRecord

router = Router(prefix="/v1/hosts", tags=["hosts"])

WAIT_SECONDS: Final = 10.0
"""How long an agent may take. It answers a question at once, when it is there."""
_read = decoder(HostHistory)

HostHistoryAnswer = Annotated[dict[str, Any], written_as(HostHistory)]


@router.get("/{name}/history", responses={503: {}})
async def show_history(
    name: str, services: Services, minutes: Annotated[int, Query(ge=1, le=60, description="How far back.")] = 60
) -> HostHistoryAnswer:
    """How a host's pools, pCPUs and guests worked and waited in the last hour: its agent's samples, one each ten seconds.

    503 while the agent is away, and if it does not answer within ten seconds.
    """
    host = await in_thread(find, services, name)
    if not host.up:
        raise Unavailable(f"host {host.name}: its samples are with its agent, which is away")
    found = await _asked(services, host, minutes * 60)
    if found is None:
        raise Unavailable(f"host {host.name}: its agent has not answered within {WAIT_SECONDS:.0f} seconds")
    return await in_thread(_shown, found, host, minutes * 60)


async def _asked(services: ApiServices, host: HostRecord, seconds: int) -> str | None:
    """The agent's answer, None if there is none in time."""

    async def ask() -> Callable[[], str | None]:
        number = await in_thread(services.fleet.hosts.ask_history, host.id, seconds)
        return lambda: _answered(services, host, number)

    return await agent_answer(services, history.topic(host.id), ask, WAIT_SECONDS)


def _answered(services: ApiServices, host: HostRecord, number: int) -> str | None:
    with services.database.read() as connection:
        return history.answered(connection, host.id, number)


def _shown(text: str, host: HostRecord, seconds: int) -> HostHistoryAnswer:
    shown: HostHistoryAnswer = plain(since(_read(text, f"the history of host {host.name}"), seconds))
    return shown
