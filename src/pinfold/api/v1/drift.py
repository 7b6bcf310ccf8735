"""What the agents' audits found, in `/v1`: of all hosts by page, and of one host."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from fastapi import Query, Request

from pinfold.api.compute.links import Limit, next_page, page_size
from pinfold.api.dependencies import Services
from pinfold.api.router import Router
from pinfold.api.v1.hosts import find
from pinfold.api.v1.schemas import CountOfHost, CountView, Drift, FindingOfHost, HostDrift
from pinfold.api.v1.thread_report import thread_report
from pinfold.core.drift import FindingCode, Severity
from pinfold.core.drift.written import FindingCount
from pinfold.core.errors import InvalidRequest
from pinfold.store import findings, guests
from pinfold.store.records import HostFinding

router = Router(prefix="/v1", tags=["drift"])

_MARKER: Final = re.compile(r"([A-Za-z0-9_.-]{1,255}):([0-9]{1,6})")


@router.get("/drift")
def list_drift(
    request: Request,
    services: Services,
    limit: Limit = None,
    marker: Annotated[str | None, Query(description="The id of the last finding of the page before.")] = None,
    code: Annotated[FindingCode | None, Query(description="Only findings of this code.")] = None,
    severity: Annotated[Severity | None, Query(description="Only drift, or only notes.")] = None,
) -> Drift:
    """What the agents' audits found on all hosts, by the host's name, and how many findings each host has."""
    with services.database.read() as connection:
        found = findings.page(connection, after=_place(marker), limit=page_size(limit), code=code, severity=severity)
        counts = findings.counts(connection)
    drift: Drift = {
        "findings": [view for one in found for view in _view(one)],
        "counts": [_count_of_host(each.host, each.count) for each in counts],
    }
    if more := next_page(request, "drift", found, limit, _id(found[-1]) if found else None, root="/v1"):
        drift["findings_links"] = more
    return drift


@router.get("/hosts/{name}/drift")
def show_drift(name: str, services: Services) -> HostDrift:
    """What the audit of a host's agent found, and when the agent reported it."""
    host = find(services, name)
    with services.database.read() as connection:
        reported = findings.reported(connection, host.id)
        found = findings.aged(connection, host.id)
        counts = findings.counts(connection, host.id)
        seen = guests.thread_reports(connection, host.id)
    reports = (thread_report(guest, text) for guest, text in seen)
    return {
        "host": host.name,
        "up": host.up,
        "reported": reported,
        "witnesses": sorted({report.witness for report in reports if report is not None}),
        "findings": [msgspec.to_builtins(finding) for finding, _ in found],
        "since": [since for _, since in found],
        "counts": [_count(each.count) for each in counts],
    }


def _view(one: HostFinding) -> list[FindingOfHost]:
    if one.finding is None:
        return []
    return [{"id": _id(one), "host": one.host, "since": one.since, "finding": msgspec.to_builtins(one.finding)}]


def _count(count: FindingCount) -> CountView:
    return {"code": count.code.value, "severity": count.severity.value, "count": count.count}


def _count_of_host(host: str, count: FindingCount) -> CountOfHost:
    return {"host": host, **_count(count)}


def _id(one: HostFinding) -> str:
    return f"{one.host}:{one.number}"


def _place(marker: str | None) -> tuple[str, int] | None:
    """The host's name and the place in its report. The finding itself may be gone."""
    if marker is None:
        return None
    match = _MARKER.fullmatch(marker)
    if match is None:
        raise InvalidRequest(f"marker [{marker[:255]}] not found", key="marker")
    return match[1], int(match[2])
