"""The JSON documents that commands print with `--json`. Their keys and shapes are stable.

CPU sets are cpulists, ids are strings, and keys of sizes carry the unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pinfold.core.fit.model import Fit, NoFit
from pinfold.core.overhead import masks
from pinfold.core.reasons import Reason
from pinfold.core.request.model import GuestRequest

Document = dict[str, Any]


def reason_document(reason: Reason) -> Document:
    """One reason: its stable code, its kind, the host cell or null, and the counts."""
    return {
        "code": reason.code.value,
        "kind": reason.kind.value,
        "cell": reason.cell,
        "needed": reason.needed,
        "available": reason.available,
        "detail": reason.detail,
        "sentence": reason.sentence(),
    }


def placement_document(fit: Fit) -> Document:
    """Where every part of one guest runs."""
    return {
        "vcpus": fit.vcpus,
        "memory_mib": fit.memory_mib,
        "disk_gib": fit.disk_gib,
        "cells": [
            {
                "guest_cell": cell.guest_cell,
                "host_cell": cell.host_cell,
                "pins": {str(vcpu): pcpu for vcpu, pcpu in cell.pins},
                "float_vcpus": str(cell.float_vcpus),
                "float_set": str(cell.float_set),
                "memory_mib": cell.memory_mib,
                "page_kib": cell.page_kib,
            }
            for cell in fit.cells
        ],
        "vcpu_cpus": [str(cpus) for cpus in masks(fit).vcpus],
        "realtime_vcpus": str(fit.realtime),
        "emulator": {"placement": fit.emulator_placement.value, "cpus": str(fit.emulator), "pcpu": fit.emulator_pcpu},
        "idle_siblings": str(fit.idle_siblings),
        "taken": str(fit.taken),
        "overhead_millicpu": fit.overhead_millicpu,
        "warnings": [reason_document(reason) for reason in fit.warnings],
    }


def fit_document(found: Fit | NoFit, request: GuestRequest, host: str, warnings: Iterable[str]) -> Document:
    """The answer of `fit`: `fits`, then either `placement` or `kind` and `reasons`."""
    if isinstance(found, Fit):
        document: Document = {"fits": True, "host": host, "placement": placement_document(found)}
    else:
        document = refusal_document(found, host)
    return document | {"not_acted_upon": list(request.not_acted_upon), "warnings": list(warnings)}


def refusal_document(refusal: NoFit, host: str) -> Document:
    """Why a guest does not fit a host: `fits` is false, then `kind` and `reasons`."""
    reasons = [reason_document(reason) for reason in refusal.reasons]
    return {"fits": False, "host": host, "kind": refusal.kind.value, "reasons": reasons}
