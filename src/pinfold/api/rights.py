"""`while_it_holds`: a request is served for as long as its account is as it was when it was let in. Letting it in does not belong here."""

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
    """Serve one request. Once the account is removed or changed, nothing more of the request is heard, and nothing more is answered.

    An answer that has not begun becomes 401; one that has breaks off. What was changed by then stays changed.
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
