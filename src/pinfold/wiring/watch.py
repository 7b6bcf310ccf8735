"""Assemble the watch of a host, and run it as a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pinfold.core.settings import HostSettings
from pinfold.watch import listener, textfile
from pinfold.watch.loop import Publisher, Watch
from pinfold.watch.options import WatchOptions
from pinfold.wiring.host import open_driver


def watch_once(settings: HostSettings, options: WatchOptions) -> str:
    """Sweep once, write the textfile if there is one, and return the metrics."""
    from pinfold.watch.metrics import render

    with _opened(settings, options, lambda: settings, lambda: None) as watch:
        return render(watch.once()).decode()


def serve_watch(
    settings: HostSettings,
    options: WatchOptions,
    *,
    read_settings: Callable[[], HostSettings],
    ready: Callable[[str], None],
    alive: Callable[[], None],
) -> None:
    """Watch the host until SIGINT or SIGTERM; SIGHUP makes it read the configuration again.

    `ready` is called with the address of the metrics, '' for none, after the first sweep. Raises `InvalidRequest` for an address or a file
    that cannot be used, `Unavailable` if the hypervisor is away at the start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a watch that hears it
    address = listener.parse(options.listen) if options.listen else None
    with ExitStack() as stack:
        watch = stack.enter_context(_opened(settings, options, read_settings, alive))
        where = ""
        if address is not None:
            from pinfold.watch.metrics import render

            where = stack.enter_context(listener.serving(address, lambda: render(watch.state)))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watch.stop())
        signal.signal(signal.SIGHUP, lambda *_: watch.hang_up())
        watch.run(lambda: ready(where))


@contextmanager
def _opened(
    settings: HostSettings, options: WatchOptions, read_settings: Callable[[], HostSettings], alive: Callable[[], None]
) -> Iterator[Watch]:
    publishers: dict[str, Publisher] = {}
    if options.textfile:
        from pinfold.watch.metrics import render

        path = Path(os.path.abspath(options.textfile))
        textfile.check_path(path)
        publishers["textfile"] = lambda state: textfile.write(path, render(state))
    with open_driver(settings) as driver:
        yield Watch(driver, settings, interval=options.interval, read_settings=read_settings, publishers=publishers, alive=alive)
