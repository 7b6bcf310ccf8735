"""`while_it_holds`: serve a request only as long as its account is unchanged since it was admitted."""

from __future__ import annotations

import logging

from pinfold.api.accounts import Account
from pinfold.api.asgi import App, Message, Receive, Scope, Send
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.api.errors import send_error

_log = logging.getLogger(__name__)


class _Ended(Exception):
    """Ends the work on a request whose account was removed or changed."""


async def while_it_holds(doorkeeper: Doorkeeper, account: Account, app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request. Once the account is removed or changed, nothing more is read from the request or sent in response.

    A response that has not begun becomes 401; one that has begun breaks off. Changes that were made by then stay.
    """
    began = refused = False

    async def heard() -> Message:
        message = await receive()
        if not doorkeeper.holds(account):
            raise _Ended
        return message

    async def refuse() -> None:
        nonlocal refused
        refused = True
        await send_error(scope, send, 401, "The account was removed or changed while its request was at work.")

    async def answered(message: Message) -> None:
        nonlocal began
        if refused:
            return
        if doorkeeper.holds(account):
            began = True
            await send(message)
        elif began:
            raise _Ended
        else:
            await refuse()

    try:
        await app(scope, heard, answered)
    except _Ended:
        if began:
            _log.warning("an answer to %s broke off: the account was removed or changed", account.name)
        elif not refused:
            await refuse()
