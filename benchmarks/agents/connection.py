"""One HTTP connection of a simulated agent, with the headers and the patience of the real one's client.

The real client is httpx, of which ten thousand do not fit beside an API on two cores. What the API receives is the same.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Final

from pinfold.agent.client import retry_seconds

IDLE_SECONDS: Final = 5.0
"""httpx closes a connection that was idle for so long, and opens another."""
_ANSWER_SECONDS: Final = 60.0
_BIND_ADDRESS_NO_PORT: Final = 24
"""Of ip(7), which Python 3.11 does not name: the port is chosen when it connects. A port that is chosen before is taken for all
destinations, and the search for one takes most of the simulation's time once ten thousand are in use.
"""


class Refused(Exception):
    """The service did not answer, or answered with an error. `again` is for how many seconds it asked not to be asked."""

    def __init__(self, message: str, again: float = 0.0) -> None:
        super().__init__(message)
        self.again = again


class Connection:
    """One keep-alive connection from the address `source`, for one request at a time."""

    def __init__(self, host: str, port: int, token: str, source: str) -> None:
        self._host, self._port, self._source = host, port, source
        self._head = (
            f"Host: {host}:{port}\r\nAccept: */*\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28\r\n"
            f"Authorization: Bearer {token}\r\nAccept-Encoding: identity\r\n"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0
        self._turn = asyncio.Lock()

    async def ask(self, method: str, path: str, body: str | None = None, *, line: Callable[[bytes], None] | None = None) -> bytes:
        """The body of a successful answer; of one in two lines the last, after the first was given to `line`. Raises `Refused`."""
        async with self._turn:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await self._ask(method, path, body, line)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.close()
                raise Refused(f"{type(error).__name__} {error}") from error

    async def _ask(self, method: str, path: str, body: str | None, line: Callable[[bytes], None] | None) -> bytes:
        if self._streams is not None and (time.monotonic() - self._used > IDLE_SECONDS or self._streams[0].at_eof()):
            self.close()
        if self._streams is None:
            self._streams = await self._connect()
        reader, writer = self._streams
        content = "" if body is None else body
        more = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(content.encode())}\r\n"
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{more}\r\n{content}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            answer = await _chunks(reader, line)
        else:
            answer = await reader.readexactly(int(headers.get("content-length", "0")))
        self._used = time.monotonic()
        if headers.get("connection") == "close":
            self.close()
        if not first.split()[1].startswith("2"):
            raise Refused(f"{first} {answer[:200]!r}", retry_seconds(headers.get("retry-after", "")))
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = socket.socket()
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            made.bind((self._source, 0))
            await asyncio.get_running_loop().sock_connect(made, (self._host, self._port))
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader, line: Callable[[bytes], None] | None) -> bytes:
    """The last line of a body in chunks; the API sends a chunk for each line."""
    last = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        last = await reader.readexactly(size)
        if last.endswith(b"\n") and line is not None:
            line(last)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return last
