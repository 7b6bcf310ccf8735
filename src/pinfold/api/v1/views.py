"""Fill the schemas of `/v1` for fits, refusals and placements from the store's records. Pure."""

from __future__ import annotations

from pinfold.agent.wire import ThreadReport
from pinfold.api.v1.schemas import (
    MoveView,
    PlacementView,
)
from pinfold.core.encoding import decoder, plain
from pinfold.core.fit.written import written
from pinfold.service.guests.faults import refused_by
from pinfold.store.records import ClaimRecord, GuestRecord, HostRecord, Move
from pinfold.store.unreadable import read_or

_read_threads = decoder(ThreadReport)


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
            "fit": plain(written(claim.fit)),
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
