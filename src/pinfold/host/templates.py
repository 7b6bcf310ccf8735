"""The templates of a host: `NAME.xml` in `templates_dir`, which flavors and images name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from pinfold.core.bounds import MAX_TEMPLATE
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import TEMPLATE_NAME
from pinfold.host import files

_SUFFIX: Final = ".xml"
_MOST: Final = 256
"""How many templates a host reports."""
_log = logging.getLogger(__name__)


def names(folder: Path) -> tuple[str, ...]:
    """The names of the templates, ascending, at most 256; none if the folder is missing or cannot be read."""
    try:
        found = files.names(folder)
    except OSError as error:
        _log.warning("the templates in %s cannot be read: %s", folder, error.strerror)
        return ()
    named = (name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))
    return tuple(name for name in named if TEMPLATE_NAME.fullmatch(name))[:_MOST]


def read(folder: Path, name: str) -> str:
    """The text of a template. Raises `InvalidRequest` for a name that is none, a missing file, a link, and one that is too long."""
    if not TEMPLATE_NAME.fullmatch(name):
        raise InvalidRequest(f"{name[:64]!r} is not the name of a template", key="pinfold:template")
    data = files.tail(folder, name + _SUFFIX, MAX_TEMPLATE + 1)
    if data is None:
        raise InvalidRequest(f"there is no template {name} in {folder} ([pinfold] templates_dir)", key="pinfold:template")
    if len(data) > MAX_TEMPLATE:
        raise InvalidRequest(f"template {folder / name}{_SUFFIX} is larger than {MAX_TEMPLATE >> 10} KiB", key="pinfold:template")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"template {folder / name}{_SUFFIX} is not text in UTF-8 (byte {error.start})", key="pinfold:template"
        ) from error
