"""A name server that knows one name, for guests that are told to ask it. Source: RFC 1035, section 4."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv4Address
from typing import Final

_ANSWER: Final = 0x8580
"""The flags of an answer: authoritative, recursion wanted and available, no error."""
_NOT_THERE: Final = 3
_HEAD: Final = struct.Struct("!6H")
_ADDRESS: Final = struct.pack("!HHIH", 1, 1, 60, 4)
"""Type A, class IN, a minute, four bytes."""


@contextmanager
def name_server(address: str, name: str, answer: str) -> Iterator[None]:
    """Answers on port 53 of an address of the caller's network namespace, until the block ends: `name` is at `answer`, and no other is
    anywhere.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ours:
        ours.bind((address, 53))
        ours.settimeout(0.2)
        over = threading.Event()
        server = threading.Thread(target=_serve, args=(ours, over, name, IPv4Address(answer)))
        server.start()
        try:
            yield
        finally:
            over.set()
            server.join()


def _serve(ours: socket.socket, over: threading.Event, name: str, answer: IPv4Address) -> None:
    while not over.is_set():
        try:
            question, asker = ours.recvfrom(4096)
        except TimeoutError:
            continue
        ours.sendto(answered(question, name, answer), asker)


def answered(question: bytes, name: str, answer: IPv4Address) -> bytes:
    """The answer to one question of a well-formed message."""
    labels, at = [], _HEAD.size
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
        at += 1 + question[at]
    asked = question[_HEAD.size : at + 5]
    known = ".".join(labels) == name
    address = known and asked.endswith(b"\0\1\0\1")
    head = _HEAD.pack(int.from_bytes(question[:2]), _ANSWER if known else _ANSWER | _NOT_THERE, 1, int(address), 0, 0)
    return head + asked + (b"\xc0\x0c" + _ADDRESS + answer.packed if address else b"")
