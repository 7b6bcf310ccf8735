"""The JSON documents that commands print with `--json`. Their keys and shapes are stable.

CPU sets are cpulists, ids are strings, and keys of sizes carry the unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pinfold.core.drift import ExpectedMasks, Finding, Severity, expected, written
from pinfold.core.encoding import plain
from pinfold.core.fit.model import Fit, NoFit
from pinfold.core.overhead import ObservedThread, masks, memory_cell
from pinfold.core.reasons import Reason
from pinfold.core.request.model import GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import HostGuest, Observation, Record
from pinfold.host.places import places

if TYPE_CHECKING:
    from pinfold.cli.checks import CheckResult
    from pinfold.core.host_map import HostMap
    from pinfold.drivers.checkup import Checkup
    from pinfold.host.audit import Audit
    from pinfold.host.orphans import Orphan
    from pinfold.host.pool_change import AppliedPlan, GuestChange, PoolPlan
    from pinfold.host.repair import RemainingFinding, RepairedGuest
    from pinfold.host.replace import ReplaceResult
    from pinfold.host.stop import StopResult
    from pinfold.host.survey import Survey

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


def replaced_document(done: ReplaceResult) -> Document:
    """A stopped guest whose definition was rewritten; `before` is null if its record could not be read."""
    return {
        "guest": guest_document(done.guest),
        "moved": done.before != done.after,
        "before": None if done.before is None else placement_document(done.before),
        "because": [written.document(finding) for finding in done.because],
        "warnings": list(done.warnings),
    }


def guest_document(guest: HostGuest) -> Document:
    """One guest as the hypervisor knows it; `record` is null for a guest that is not ours."""
    record = guest.record
    return {
        "id": guest.id,
        "name": guest.name,
        "state": guest.state.value,
        "vcpus": guest.vcpus,
        "memory_mib": guest.whole_memory_mib,
        "huge_pages": [{"cell": pages.cell, "size_kib": pages.size_kib, "count": pages.count} for pages in guest.pages],
        "pid": guest.pid,
        "record": None
        if record is None
        else {
            "policy": record.policy.value,
            "flavor": record.flavor,
            "owner": record.owner,
            "server": record.server,
            "placement": placement_document(record.fit),
        },
        "nova_name": None if guest.nova is None else guest.nova.name,
        "nova_flavor": None if guest.nova is None else guest.nova.flavor,
        "pins": None if record is not None else _places_document(guest),
        "problem": guest.problem,
    }


def proof_document(
    guest: HostGuest, recorded: ExpectedMasks | None, observation: Observation | None, findings: Iterable[Finding]
) -> Document:
    """One guest with every thread that was seen; `placed` is false if anything drifted."""
    found = tuple(findings)
    return {
        "guest": guest_document(guest),
        "placed": not any(finding.severity is Severity.DRIFT for finding in found),
        "witness": None if observation is None else observation.witness,
        "stable": None if observation is None else observation.stable,
        "threads": [] if observation is None else [_thread_document(thread, recorded, guest.record) for thread in observation.threads],
        "findings": [written.document(finding) for finding in found],
    }


def audit_document(found: Audit) -> Document:
    """The audit of a whole host. `verified` is false when it ran from another machine; `drift` counts the findings that break a promise."""
    return {
        "host": found.seen.state.name,
        "verified": found.verified,
        "drift": len(found.drift),
        "guests": [
            proof_document(guest.guest, guest.masks, guest.observation, guest.findings)
            | {"whose": guest.origin.value, "policy": None if guest.policy is None else guest.policy.value, "inferred": guest.inferred}
            for guest in found.guests
        ],
        "host_findings": [written.document(finding) for finding in found.host_findings],
        "warnings": list(found.seen.warnings),
    }


def repair_document(done: Sequence[RepairedGuest], left: Sequence[RemainingFinding]) -> Document:
    """Every guest that had drifted, with what was found and what remains; then the remaining drift of the host, and why."""
    return {
        "repaired": [
            {
                "guest": guest_document(one.before.guest),
                "found": [written.document(finding) for finding in one.before.drift],
                "left": [written.document(finding) for finding in one.after.drift],
            }
            for one in done
        ],
        "left": [written.document(one.finding) | {"why": one.why} for one in left],
    }


def stop_document(stopped: StopResult) -> Document:
    """A guest that was stopped; `removed` says whether its definition, disk and claim are gone too."""
    return {"stopped": True, "removed": stopped.removed, "guest": guest_document(stopped.guest)}


def orphans_document(found: Sequence[Orphan], *, removed: bool, files_deleted: bool) -> Document:
    """The guests that no service knows: the pCPUs that only each of them may use, and the path of its disk, null without one."""
    rows = [
        {**guest_document(orphan.guest), "holds": str(orphan.holds), "disk": None if orphan.disk is None else str(orphan.disk)}
        for orphan in found
    ]
    return {"orphans": rows, "removed": removed, "files_deleted": files_deleted}


def check_document(found: CheckResult) -> Document:
    """Configuration files, their errors and warnings, and the pools that they define on this host, if they were checked against it."""
    return {
        "files": list(found.files),
        "errors": list(found.errors),
        "warnings": list(found.warnings),
        "host": found.host,
        "pools": dict(found.pools),
        "locality": None if found.locality is None else found.locality.value,
    }


def doctor_document(found: Sequence[Checkup]) -> Document:
    """Every prerequisite; `health` is good, unused, poor or bad."""
    return {"checks": [msgspec.to_builtins(one) for one in found]}


def host_document(seen: Survey, chart: HostMap, settings: HostSettings) -> Document:
    """The numbers of a host: pools, cells, limits, and what is free."""
    state, limits = seen.state, settings.limits
    return {
        "host": state.name,
        "pools": {
            "shared": str(state.pools.shared),
            "dedicated": str(state.pools.dedicated),
            "overhead": None if state.pools.overhead is None else str(state.pools.overhead),
        },
        "reserved_pcpus": seen.reserved_pcpus,
        "online": str(state.topology.online),
        "offline": str(state.topology.offline),
        "switched_off": str(seen.switched_off),
        "threads_per_core": state.topology.threads_per_core,
        "cells": [
            {
                "id": cell.id,
                "cpus": str(cell.cpus),
                "cores": [str(core) for core in cell.cores],
                "sockets": list(cell.sockets),
                "memory_mib": cell.memory_mib,
                "memory_free_mib": drawn.memory_free_mib,
                "pages": [{"size_kib": pages.size_kib, "total": pages.total} for pages in cell.pages],
                "huge_pages": plain(drawn.huge_pages),
                "dedicated": drawn.dedicated,
                "dedicated_free": drawn.dedicated_free,
            }
            for cell, drawn in zip(state.topology.cells, chart.cells, strict=True)
        ],
        "overhead": plain(chart.overhead),
        "floating_vcpus": chart.floating_vcpus,
        "floating_memory_free_mib": chart.floating_memory_free_mib,
        "limits": {
            "cpu_allocation_ratio": limits.cpu_allocation_ratio,
            "ram_allocation_ratio": limits.ram_allocation_ratio,
            "disk_allocation_ratio": limits.disk_allocation_ratio,
            "reserved_memory_mib": limits.reserved_memory_mib,
            "reserved_disk_gib": limits.reserved_disk_gib,
            "shared_fraction": limits.shared_fraction,
            "booking": limits.booking.value,
            "locality": limits.locality.value,
        },
        "strategy": settings.strategy.value,
        "traits": sorted(state.traits),
        "libvirt": settings.uri,
        "configuration": settings.source,
        "warnings": list(seen.warnings),
    }


def pools_document(plan: PoolPlan, done: AppliedPlan | None) -> Document:
    """What the pools of today mean for the guests; `done` is null for a plan alone. `outcome` says what became of each guest."""
    pools = plan.seen.state.pools
    return {
        "host": plan.seen.state.name,
        "pools": {
            "shared": str(pools.shared),
            "dedicated": str(pools.dedicated),
            "overhead": None if pools.overhead is None else str(pools.overhead),
        },
        "applied": done is not None,
        "settled": plan.settled if done is None else done.complete,
        "guests": [_change_document(change, done) for change in plan.changes],
        "warnings": list(plan.warnings),
    }


def _change_document(change: GuestChange, done: AppliedPlan | None) -> Document:
    failure = "" if done is None else done.failures.get(change.guest.id, "")
    outcome = "left" if change.why else "kept" if not change.pending else "pending" if done is None else "failed" if failure else "moved"
    return {
        "id": change.guest.id,
        "name": change.guest.name,
        "whose": change.origin.value,
        "outcome": outcome,
        "moves": [
            {
                "class": move.thread_class.value,
                "vcpu": move.vcpu,
                "threads": move.count,
                "from": str(move.before),
                "to": str(move.after),
            }
            for move in change.moves
        ],
        "retiring": str(change.retiring),
        "why": failure or change.why,
        "later": change.later,
    }


def _places_document(guest: HostGuest) -> Document:
    found = places(guest, None)
    return {
        "pinned": str(found.pinned),
        "float_vcpus": found.floats,
        "float_set": None if found.floating is None else str(found.floating),
        "emulator": None if found.emulator is None else str(found.emulator),
    }


def _thread_document(thread: ObservedThread, recorded: ExpectedMasks | None, record: Record | None) -> Document:
    place = None if recorded is None else expected(recorded, thread)
    return {
        "tid": thread.tid,
        "name": thread.name,
        "class": thread.thread_class.value,
        "vcpu": thread.vcpu,
        "scheduler": thread.scheduler,
        "allowed": str(thread.allowed),
        "recorded": None if place is None else str(place),
        "memory_cell": None if record is None else memory_cell(thread, record.fit),
    }
