"""What a fit's written form adds to the fit: the sentences of its warnings. Reading ignores them."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.fit.model import Fit
from pinfold.core.reasons import written_reasons


def written(fit: Fit) -> Fit:
    """The fit as it is written."""
    return replace(fit, warnings=written_reasons(fit.warnings)) if fit.warnings else fit
