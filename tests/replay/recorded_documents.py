"""Documents as the recorded code printed them: what turns today's forms back into them. `differences` says why each has changed."""

from __future__ import annotations

from typing import Any

from tests.replay.recording import inside

from pinfold.core.encoding import reader
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.overhead import masks
from pinfold.core.reasons import Reason
from pinfold.drivers.port import HostGuest
from pinfold.host.places import places

Document = dict[str, Any]

_read_guest = reader(HostGuest)
_read_fit = reader(Fit)


def undone(value: Any) -> Any:
    """The answer with guests, threads and proofs in their recorded forms."""
    if isinstance(value, dict) and "kept_first" in value:
        return _guest(_read_guest(value, "guest"))
    found = inside(value, undone)
    if not isinstance(found, dict):
        return found
    if {"tid", "memory_cell"} <= found.keys():
        return {"class" if key == "thread_class" else key: one for key, one in found.items()}
    if found.keys() == {"finding", "why"}:
        return {**found["finding"], "why": found["why"]}
    if found.keys() == {"guests", "drifted"}:
        return {"guests": found["guests"]}
    if found.keys() == {"guest", "holds", "disk"}:
        return {**found.pop("guest"), **found}
    return found


def reported(value: Any) -> Any:
    """The value with the threads of agents' reports in their recorded form."""
    if isinstance(value, dict) and {"tid", "memory_cell"} <= value.keys():
        return {key: one for key, one in value.items() if key not in ("scheduler", "memory_cell")} | {"recorded": value["recorded"] or ""}
    return inside(value, reported)


def proof(answer: Any) -> Any:
    """The proof of one guest, which did not say whose it is."""
    for key in ("whose", "policy", "inferred"):
        answer["out"].pop(key, None)
    return answer


def replacement(answer: Any) -> Any:
    """A guest's new place, with the place before in its recorded form."""
    before = answer["out"]["before"]
    return answer | {"out": answer["out"] | {"before": before and placement(_read_fit(before, "fit"))}}


def limits(answer: Any) -> Any:
    """The numbers of a host with fewer limits."""
    for key in ("reserved_pages", "rates"):
        del answer["out"]["limits"][key]
    return answer


def _guest(guest: HostGuest) -> Document:
    record = guest.record
    return {
        "id": guest.id,
        "name": guest.name,
        "state": guest.state.value,
        "vcpus": guest.vcpus,
        "memory_mib": guest.memory_mib,
        "huge_pages": [{"cell": pages.cell, "size_kib": pages.size_kib, "count": pages.count} for pages in guest.pages],
        "pid": guest.pid,
        "record": None
        if record is None
        else {
            "policy": record.policy.value,
            "flavor": record.flavor,
            "owner": record.owner,
            "server": record.server,
            "placement": placement(record.fit),
        },
        "nova_name": None if guest.nova is None else guest.nova.name,
        "nova_flavor": None if guest.nova is None else guest.nova.flavor,
        "pins": None if record is not None else _places_document(guest),
        "problem": guest.problem,
    }


def _places_document(guest: HostGuest) -> Document:
    found = places(guest, None)
    return {
        "pinned": str(found.pinned),
        "float_vcpus": found.floats,
        "float_set": None if found.floating is None else str(found.floating),
        "emulator": None if found.emulator is None else str(found.emulator),
    }


def placement(fit: Fit) -> Document:
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
        "warnings": [_reason(reason) for reason in fit.warnings],
    }


def refusal(no_fit: NoFit, host: str) -> Document:
    """Why a guest does not fit a host."""
    return {"fits": False, "host": host, "kind": no_fit.kind.value, "reasons": [_reason(reason) for reason in no_fit.reasons]}


def fit_answer(answer: Any) -> Any:
    """The answer of `fit` on one host, or a refused start or replacement."""
    out = answer.get("out")
    if isinstance(out, dict) and "candidates" in out:
        found: list[Any] = [*out["candidates"], *out["refusals"]]
        (one,) = found
        rest = {key: out[key] for key in ("not_acted_upon", "warnings", "xml") if key in out}
        placed = {"fits": True, "host": one["host"], "placement": placement(_read_fit(one["fit"], "fit"))} if "fit" in one else _one(one)
        return answer | {"out": placed | rest}
    return answer | {"out": _one(out)} if isinstance(out, dict) and "reasons" in out else answer


def _one(refused: Document) -> Document:
    return {"fits": False} | {key: value for key, value in refused.items() if key not in ("revision", "sentence")}


def service_fits(value: Any) -> Any:
    """The value with fits and reasons as `/v1` gave them."""
    if isinstance(value, dict):
        if "emulator_placement" in value:
            return _service_fit(_read_fit(value, "fit"))
        if "candidates" in value:
            refusals = [{key: one for key, one in refused.items() if key != "sentence"} for refused in value["refusals"]]
            value = value | {"refusals": refusals}
        elif {"host", "reasons", "sentence"} <= value.keys():
            value = {key: value[key] for key in ("host", "revision", "sentence")}
        later = "detail" if {"code", "sentence", "detail"} <= value.keys() else "warnings" if "candidates" in value else ""
        value = {key: one for key, one in value.items() if key != later}
    return inside(value, service_fits)


def _service_fit(fit: Fit) -> Document:
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
        "warnings": [{key: one for key, one in _reason(reason).items() if key != "detail"} for reason in fit.warnings],
    }


def _reason(reason: Reason) -> Document:
    return {
        "code": reason.code.value,
        "kind": reason.kind.value,
        "cell": reason.cell,
        "needed": reason.needed,
        "available": reason.available,
        "detail": reason.detail,
        "sentence": reason.sentence(),
    }
