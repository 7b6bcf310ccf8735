"""The HTTP protocol with a bound on a request's head: address and headers. Bodies are `bounds`'s."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 1 << 16
"""The bound that h11 has; httptools has none, and would keep whatever anybody sends (0.6 to 0.8)."""

_REFUSAL: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHead(HttpToolsProtocol):
    """httptools' protocol, which answers 431 and hangs up once more than `MAX_HEAD` bytes came before a request's head was whole."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._in_body = False

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of a head."""
        if not self._in_body:
            self._head += len(data)
        super().data_received(data)
        if not self._in_body and self._head > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head, self._in_body = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What follows is another request's head."""
        self._in_body = False
        super().on_message_complete()
