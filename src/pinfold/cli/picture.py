"""Pictures of a host that are not one screen of text: the SVG file, and the map that is drawn anew every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from rich.console import RenderableType

from pinfold.cli.output import console, show
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from pinfold.core.drift import Finding
    from pinfold.core.host_map import HostMap
    from pinfold.core.load import HostLoad
    from pinfold.host.survey import Survey

_EVERY_SECONDS: Final = 2.0


def draw_repeatedly(draw: Callable[[int], Iterable[RenderableType]]) -> NoReturn:
    """Show what `draw` returns for the width of the screen, every 2 seconds until Ctrl-C. In a pipe a blank line ends each picture."""
    while True:
        screen = console()
        lines = [*draw(screen.width)]
        if screen.is_terminal:
            screen.clear()
        show(lines if screen.is_terminal else [*lines, ""], screen)
        time.sleep(_EVERY_SECONDS)


def write_svg(
    file: str,
    seen: Survey,
    chart: HostMap,
    drift: Sequence[Finding],
    load: HostLoad | None = None,
    since: Sequence[float | None] = (),
) -> None:
    """Write the picture of a surveyed host, with its load if that is known, and since when each finding has been reported.

    Raises `InvalidRequest` if the file cannot be written.
    """
    from pinfold.cli.views.phrases import moment
    from pinfold.drawing.svg import host_svg

    times = [None if at is None else moment(at) for at in since]
    guests = tuple((guest.id, guest.server or guest.name, guest.record is not None) for guest in seen.guests)
    try:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(host_svg(chart, guests=guests, drift=drift, load=load, since=times))
    except OSError as error:
        raise InvalidRequest(f"--svg {file}: cannot be written ({error.strerror})", key="--svg") from error
