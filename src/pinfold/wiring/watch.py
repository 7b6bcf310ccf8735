"""Assemble the watch of a host, and run it as a process."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.capacity import demands_of
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.drivers.port import Driver, refuse_remote
from pinfold.host.lock import refuse_if_owned, state_folder
from pinfold.watch import listener, textfile
from pinfold.watch.history import answer, socket_path
from pinfold.watch.hours import measured, measured_shapes
from pinfold.watch.journal import Journal, journal_path
from pinfold.watch.loop import Publisher, Watch
from pinfold.watch.options import UI_ADDRESS, WatchOptions
from pinfold.watch.pools import PoolsMode
from pinfold.watch.state import State
from pinfold.wiring.host import open_driver
from pinfold.wiring.watch_page import UI, refuse_without_extra, ui_pages

_log = logging.getLogger(__name__)


def watch_once(settings: HostSettings, options: WatchOptions) -> str:
    """Sweep once, write the textfile if there is one, and return the metrics."""
    from pinfold.watch.metrics import render

    with _opened(settings, options, _publishers(options), lambda: settings) as watch:
        return render(watch.once()).decode()


def serve_watch(
    settings: HostSettings,
    options: WatchOptions,
    *,
    read_settings: Callable[[], HostSettings],
    ready: Callable[[str, str], None],
    alive: Callable[[], None],
) -> None:
    """Watch the host until SIGINT or SIGTERM; SIGHUP makes it read the configuration again.

    `ready` is called with the address of the metrics and that of the page, '' for none, after the first sweep. Raises `InvalidRequest` for
    an address or a file that cannot be used, `Unavailable` if the hypervisor is away at the start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a watch that hears it
    address = listener.parse(options.listen) if options.listen else None
    if options.ui:
        refuse_without_extra()
    with ExitStack() as stack:
        publishers = _publishers(options)
        state_folder(settings)
        journal = stack.enter_context(closing(Journal(journal_path(settings), days=options.keep_days, mib=options.keep_mib)))
        if journal.put_aside:
            _log.warning("the journal was damaged and begins anew; the old one is %s", journal.put_aside)
        publishers["journal"] = _Keeper(journal)
        watch = stack.enter_context(
            _opened(settings, options, publishers, read_settings, scope=options.repair, note=journal.note, alive=alive)
        )
        history = listener.Page(content_type="application/json", render=lambda fields: answer(watch.history, fields))
        try:
            stack.enter_context(listener.serving(socket_path(settings), {listener.HISTORY: history}))
        except InvalidRequest as error:
            _log.warning("`pinfold host history` cannot ask this watch without --from: %s", error)
        where = page = ""
        pages = ui_pages(watch) if options.ui else {}
        if address is not None:
            from pinfold.watch.metrics import render

            metrics = listener.Page(content_type=listener.CONTENT_TYPE, render=lambda _: render(watch.state))
            more = pages if isinstance(address, tuple) else {}
            where = stack.enter_context(listener.serving(address, {listener.METRICS: metrics, listener.HISTORY: history, **more}))
            page = where.removesuffix(listener.METRICS) + UI if more else ""
        if pages and not page:
            page = stack.enter_context(listener.serving(listener.parse(UI_ADDRESS, option="--ui"), pages))
            page = page.removesuffix(listener.METRICS) + UI
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watch.stop())
        signal.signal(signal.SIGHUP, lambda *_: watch.hang_up())
        watch.run(lambda: ready(where, page))


def _publishers(options: WatchOptions) -> dict[str, Publisher]:
    publishers: dict[str, Publisher] = {}
    if options.textfile:
        from pinfold.watch.metrics import render

        path = Path(os.path.abspath(options.textfile))
        textfile.check_path(path)
        publishers["textfile"] = lambda state: textfile.write(path, render(state))
    return publishers


class _Keeper:
    """Writes what changed, and what overhead threads did, since the sweep before."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._before: State | None = None

    def __call__(self, state: State) -> None:
        if state.snapshot is not None:
            self._journal.keep(state.snapshot, state.swept_time)
        before, self._before = self._before, state
        hour = None if before is None else measured(before, state)
        if before is not None and hour is not None:
            self._journal.add(hour, measured_shapes(before, state))


@contextmanager
def _opened(
    settings: HostSettings,
    options: WatchOptions,
    publishers: dict[str, Publisher],
    read_settings: Callable[[], HostSettings],
    **more: Any,
) -> Iterator[Watch]:
    flavors, refused = demands_of(options.flavors)
    for one in refused:
        _log.warning("free slots of flavor %s are not counted: %s", one.flavor, one.why)
    with open_driver(settings) as driver:
        if options.repair is not RepairScope.OFF:
            refuse_remote(driver, "--repair moves threads on their own host", key="--repair")
        if options.pools is PoolsMode.APPLY:
            _refuse_pools(driver, settings)
        yield Watch(
            driver,
            settings,
            interval=options.interval,
            read_settings=read_settings,
            publishers=publishers,
            flavors=flavors,
            pools=options.pools,
            files=options.files,
            **more,
        )


def _refuse_pools(driver: Driver, settings: HostSettings) -> None:
    """Raises `InvalidRequest` where guests cannot follow the pools."""
    refuse_remote(driver, "--pools apply moves threads on their own host", key="--pools")
    if driver.sole_manager:
        raise InvalidRequest(
            f"--pools apply: guests of {driver.uri} have no record of their places; --repair all moves them by the pools", key="--pools"
        )
    refuse_if_owned(settings, "watch --pools apply")
