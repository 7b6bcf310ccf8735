"""Render the templates of the web page with Jinja2, of the extra `pinfold[ui]`. What pages show is in `fleet`, `host` and `guest`."""

from __future__ import annotations

import time
from typing import Any, Final

import jinja2

from pinfold.core.drift import PLACE_CODES, Finding
from pinfold.core.drift.written import WrittenFinding, read
from pinfold.core.printable import shown

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("pinfold.api.ui"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def fact(finding: Finding | WrittenFinding) -> str:
    """What a page says of a finding, beside the guest's name."""
    found = read(finding) if isinstance(finding, WrittenFinding) else finding
    return found.fact("should be on" if found.code in PLACE_CODES else "should be")


_TEMPLATES.filters |= {"shown": shown, "fact": fact}


def render(template: str, **values: Any) -> str:
    """The page of a template. `account` is who looks, '' for nobody, and `live` the path of the page's live updates, '' for none."""
    return _TEMPLATES.get_template(template).render(**values)


def moment(seconds: float) -> str:
    """A time as the pages show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
