"""Fill the schemas of `/v1` for fits, refusals and placements from the store's records. Pure."""

from __future__ import annotations

from pinfold.agent.wire import ThreadReport
from pinfold.api.v1.schemas import (
    CandidateView,
    FitView,
    MoveView,
    PlacementView,
    ReasonView,
    RefusalView,
)
from pinfold.core.encoding import decoder, plain
from pinfold.core.fit.model import Fit
from pinfold.core.overhead import masks
from pinfold.core.reasons import Reason
from pinfold.scheduler.model import Candidate, HostRefusal
from pinfold.service.guests.faults import refused_by
from pinfold.store.records import ClaimRecord, GuestRecord, HostRecord, Move
from pinfold.store.unreadable import read_or

_read_threads = decoder(ThreadReport)


def reason_view(reason: Reason) -> ReasonView:
    """One reason: its stable code, the needed and the available amount, and the sentence."""
    return {
        "code": reason.code.value,
        "kind": reason.kind.value,
        "cell": reason.cell,
        "needed": reason.needed,
        "available": reason.available,
        "sentence": reason.sentence(),
    }


def refusal_view(refusal: HostRefusal) -> RefusalView:
    """Why one host does not take a guest, at one revision."""
    return {
        "host": refusal.name,
        "revision": refusal.revision,
        "kind": refusal.no_fit.kind.value,
        "reasons": [reason_view(reason) for reason in refusal.no_fit.reasons],
    }


def candidate_view(candidate: Candidate) -> CandidateView:
    """A host that takes a guest, and the fit."""
    return {"host": candidate.name, "revision": candidate.revision, "fit": fit_view(candidate.fit)}


def fit_view(fit: Fit) -> FitView:
    """A fit: the pCPUs of every vCPU and of the emulator threads as cpulists, cells with their memory, and the amounts that it books."""
    placed = masks(fit)
    return {
        "vcpus": {str(vcpu): str(cpus) for vcpu, cpus in enumerate(placed.vcpus)},
        "emulator": {"placement": fit.emulator_placement.value, "pcpus": str(placed.overhead)},
        "idle_siblings": str(fit.idle_siblings),
        "realtime": str(fit.realtime),
        "overhead_millicpu": fit.overhead_millicpu,
        "cells": [
            {"guest_cell": cell.guest_cell, "host_cell": cell.host_cell, "memory_mib": cell.memory_mib, "page_kib": cell.page_kib}
            for cell in fit.cells
        ],
        "warnings": [reason_view(reason) for reason in fit.warnings],
    }


def thread_report(guest: str, text: str) -> ThreadReport | None:
    """What a guest's agent reported of its threads, as stored; None if it reported nothing, or if it cannot be read."""
    return read_or(_read_threads, text, f"guest {guest}: what its agent told of its threads", None) if text else None


def placement_view(guest: GuestRecord, claim: ClaimRecord | None, host: HostRecord | None) -> PlacementView:
    """Where a server's threads are recorded to run, what its agent last saw of them, and what other hosts lacked."""
    report = thread_report(guest.id, guest.report)
    return {
        "server": {"id": guest.id, "name": guest.name},
        "host": host.name if host else None,
        "host_up": bool(host and host.up),
        "policy": guest.request.emulator_policy.value,
        "claim": None
        if claim is None
        else {
            "id": claim.id,
            "state": claim.state.value,
            "revision": claim.revision,
            "amounts": dict(claim.amounts),
            "fit": fit_view(claim.fit),
        },
        "observed": None if report is None else plain(report),
        "moved": None if guest.moved is None else move_view(guest.moved),
        "refusals": [{"host": name, "revision": revision, "sentence": sentence} for name, revision, sentence in refused_by(guest)],
        "not_acted_upon": list(guest.request.not_acted_upon),
    }


def move_view(move: Move) -> MoveView:
    """A server's last move."""
    return {
        "host": move.host,
        "revision": move.revision,
        "before": move.before,
        "after": move.after,
        "because": list(move.because),
    }
