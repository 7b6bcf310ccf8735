"""Where a guest can go on one host: count, match, choose cores, choose the emulator's CPU, check."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinfold.core.fit.engine import fit as fit

__all__ = ["fit"]


def __getattr__(name: str) -> object:
    """Import the engine on first use. It needs the ledger, and the ledger needs this package's values."""
    if name == "fit":
        from pinfold.core.fit.engine import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
