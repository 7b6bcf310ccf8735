"""What the written form of a fit says of its vCPUs."""

from __future__ import annotations

from typing import Any

from pinfold.core.encoding import reader
from pinfold.core.fit.answer import Fit
from pinfold.core.overhead import masks

_read_fit = reader(Fit)


def vcpu_cpus(fit: Any) -> list[str]:
    """The pCPUs of each vCPU, as cpulists."""
    return [str(cpus) for cpus in masks(_read_fit(fit, "fit")).vcpus]


def taken(fit: Any) -> str:
    """Every pCPU that only the guest may use."""
    return str(_read_fit(fit, "fit").taken)
