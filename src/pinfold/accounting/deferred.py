"""An embedded Placement that is loaded when it is first needed: importing it takes longer than all that a first answer needs."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, InProcessClient, Wsgi, check, load
from pinfold.core.errors import Unavailable

_REST_SECONDS: Final = 1.0
"""How long calls fail at once after it could not be loaded."""


class DeferredPlacement:
    """The WSGI application, which has no authentication and must be mounted behind one, and `client`, which calls it directly. The first
    call loads Placement, and those that come meanwhile wait for it.

    Raises `InvalidRequest` for a database of another kind, `Unavailable` when a PostgreSQL does not answer. A call raises what `load`
    raises; the next one tries again.
    """

    def __init__(self, settings: EmbeddedPlacement) -> None:
        check(settings)
        self._settings = settings
        self._app: Wsgi | None = None
        self._lock = threading.Lock()
        self._failed: tuple[float, str] | None = None
        self.client: Final = Placement(
            InProcessClient(self),
            settings.owner,
            starting=lambda: self._app is None and self._failed is None,
            writers=settings.writers,
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self.load()(environ, start_response)

    def load(self) -> Wsgi:
        """The application, loaded. Raises as `embedded.load`."""
        if self._app is not None:
            return self._app
        with self._lock:
            if self._app is None:
                if self._failed is not None and time.monotonic() - self._failed[0] < _REST_SECONDS:
                    raise Unavailable(self._failed[1])
                try:
                    with _no_collection():
                        self._app = load(self._settings).app
                except Exception as error:
                    self._failed = (time.monotonic(), str(error))
                    raise
            return self._app


@contextmanager
def _no_collection() -> Iterator[None]:
    """Load without the garbage collector where it runs already, and keep what is loaded out of it: it stays as long as the process."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
