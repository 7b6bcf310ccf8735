"""`Connection`: the connection to one libvirt, reopened whenever it was lost.

This is the only module that imports libvirt-python, which has no types and is `Any` here. `translated` translates its errors. Its event
loop runs in one daemon thread for the whole process and is registered before the first connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import libvirt as _untyped

from pinfold.core.errors import Unavailable
from pinfold.drivers.kvm import deadline
from pinfold.drivers.libvirt import errors, events
from pinfold.drivers.libvirt.address import Address
from pinfold.drivers.libvirt.calls import Calls
from pinfold.drivers.port import Event

libvirt: Any = _untyped

_OPEN_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 5
_KEEPALIVE_COUNT: Final = 3
_CLOSE_SECONDS: Final = 2.0


class Connection:
    """The connection to the libvirt at `address`, and its events. A remote one is opened read-only.

    It opens at once, and again whenever it was lost; event registrations survive that. Any thread may use it.
    Raises `Unavailable` if libvirt cannot be reached.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.RLock()
        self._callbacks = events.Callbacks()
        self._open: Any = None
        self._registered: tuple[int, ...] = ()
        self._closed = False
        self._opening: deadline.BoundedCalls[Any] = deadline.BoundedCalls(
            lambda: libvirt.open(address.uri), usable=lambda connection: not _lost(connection)
        )
        self.calls = Calls(self._apart, patient=not address.local)
        _start_event_loop()
        self.live()

    def live(self) -> Any:
        """libvirt's own object of a working connection. Raises `Unavailable`."""
        with self._lock:
            if self._closed:
                raise Unavailable(f"the connection to {self.address.uri} was closed")
            if not self._lost():
                return self._open
            if self._open is not None:
                self._release(self._open)
                self._open = None
            try:
                fresh = self._opened()
                self._watch(fresh)
            except (libvirt.libvirtError, TimeoutError) as error:
                raise Unavailable(f"libvirt at {self.address.uri} cannot be reached: {errors.unreachable(error)}") from error
            self._open = fresh
            return fresh

    @contextmanager
    def translated(self, what: str, connection: Any = None) -> Iterator[None]:
        """Translate libvirt's errors within the block. `what` names the act; `connection` is the connection used if it is another one."""
        try:
            yield
        except libvirt.libvirtError as error:
            lost = _lost(connection) if connection is not None else self._lost()
            raise errors.translated(what, error.get_error_code(), str(error), lost=lost) from error

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back for each event until the returned function is called."""
        return self._callbacks.add(callback)

    def close(self) -> None:
        """Close the connection and stop all callbacks. A closed connection raises `Unavailable`."""
        with self._lock:
            self._closed = True
            self._callbacks.clear()
            connection, self._open = self._open, None
            self._opening.forget()
        with suppress(TimeoutError):  # do not wait for a daemon that hangs
            deadline.within(_CLOSE_SECONDS, lambda: self._let_go(connection))

    def _let_go(self, connection: Any) -> None:
        self.calls.close()
        if connection is not None:
            self._release(connection)

    def _apart(self) -> Any:
        """A connection for calls about one guest, without events."""
        if not self.address.local:
            return self.live()
        if self._closed:
            raise Unavailable(f"the connection to {self.address.uri} was closed")
        try:
            fresh = self._opened()
            with suppress(libvirt.libvirtError):
                fresh.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        except (libvirt.libvirtError, TimeoutError) as error:
            raise Unavailable(f"libvirt at {self.address.uri} cannot be reached: {errors.unreachable(error)}") from error
        return fresh

    def _opened(self) -> Any:
        if not self.address.local:
            return libvirt.openReadOnly(self.address.uri)
        # A daemon may accept the call and never answer. (A remote one may ask a person for a password, so it gets no limit.)
        return self._opening.within(_OPEN_SECONDS)

    def _watch(self, connection: Any) -> None:
        """Keepalive and events, where the connection's driver has them."""
        with suppress(libvirt.libvirtError):
            connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        with suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._on_close, None)
        self._registered = (
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None),
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE, self._on_tunable, None),
        )

    def _release(self, connection: Any) -> None:
        """Close a connection, dead or alive. Remove its registrations first, since each would keep it open."""
        for number in self._registered:
            with suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(number)
        with suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            connection.close()

    def _lost(self) -> bool:
        return self._open is None or _lost(self._open)

    def _on_lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: object) -> None:
        self._callbacks.emit(events.lifecycle(domain.UUIDString(), event, detail))

    def _on_tunable(self, _connection: Any, domain: Any, changed: Mapping[str, object], _opaque: object) -> None:
        self._callbacks.emit(events.tunable(domain.UUIDString(), changed))

    def _on_close(self, _connection: Any, reason: int, _opaque: object) -> None:
        self._callbacks.emit(events.closed(reason))


def _lost(connection: Any) -> bool:
    try:
        return bool(connection.isAlive() != 1)
    except libvirt.libvirtError:
        return True


@contextmanager
def absent_is_fine() -> Iterator[None]:
    """Ignore the error that a guest does not exist."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != errors.NO_DOMAIN:
            raise


_LOOP = threading.Lock()
_loop_thread: threading.Thread | None = None


def _start_event_loop() -> None:
    """Register libvirt's event loop and run it, once per process."""
    global _loop_thread
    with _LOOP:
        if _loop_thread is not None:
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _loop_thread = threading.Thread(target=_run_event_loop, name="libvirt events", daemon=True)
        _loop_thread.start()


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
