"""Hear of the requests to a Placement before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pinfold.accounting.client import Placement


@contextmanager
def heard(placement: Placement, note: Callable[[Any], object]) -> Iterator[None]:
    """Call `note` with each request."""
    hooks = placement._http.event_hooks
    placement._http.event_hooks = {**hooks, "request": [*hooks["request"], note]}
    try:
        yield
    finally:
        placement._http.event_hooks = hooks
