"""Every alert on pinfold's metrics: when it fires and what to do. `docs/how-to/monitor.md` has a line for each.

An alert on a host is labelled by `instance`, the watch's. One on the service is labelled by `host` or `status`: every API process
reports the fleet's metrics, so that one of them is taken.
"""

from __future__ import annotations

from typing import Any, Final

import yaml
from msgspec import Struct


class Alert(Struct, frozen=True, kw_only=True):
    """One rule. `summary` is a template of Prometheus', `lasts` how long the expression must hold."""

    name: str
    expr: str
    summary: str
    lasts: str = ""
    severity: str = "warning"


OVERHEAD: Final = 'class=~"emulator|iothread|vhost|kthread"'
"""Selects the thread classes of overhead."""

WATCH: Final = (
    Alert(
        name="PinfoldWatchDown",
        expr='up{job="pinfold-watch"} == 0',
        lasts="2m",
        summary="pinfold watch on {{ $labels.instance }} does not answer.",
    ),
    Alert(
        name="PinfoldSweepsMissing",
        expr="time() - pinfold_last_sweep_timestamp_seconds > 60",
        lasts="2m",
        summary="The last sweep of {{ $labels.instance }} that succeeded was {{ $value | humanizeDuration }} ago.",
    ),
    Alert(
        name="PinfoldGuestsUnread",
        expr="pinfold_guests_unread > 0",
        lasts="5m",
        summary="{{ $value }} guests on {{ $labels.instance }} cannot be read.",
    ),
    Alert(
        name="PinfoldGuestDrift",
        expr="sum by (instance, class, code) (pinfold_drift) > 0",
        lasts="2m",
        summary="{{ $value }} findings {{ $labels.code }} on {{ $labels.instance }} break a promise.",
    ),
    Alert(
        name="PinfoldTwoOwners",
        expr="count by (instance, pcpu) (pinfold_pcpu_owner) > 1",
        lasts="2m",
        summary="pCPU {{ $labels.pcpu }} of {{ $labels.instance }} has {{ $value }} owners.",
    ),
    Alert(
        name="PinfoldPcpuTaken",
        expr="rate(pinfold_pcpu_others_run_seconds_total[5m]) > 0.05",
        lasts="10m",
        summary="Others run {{ $value | humanizePercentage }} of the time on the owned pCPU {{ $labels.pcpu }} of {{ $labels.instance }}.",
    ),
    Alert(
        name="PinfoldOverheadStarves",
        expr=(
            f"sum by (instance, id) (rate(pinfold_guest_run_delay_seconds_total{{{OVERHEAD}}}[5m])) "
            "* on (instance, id) group_left (guest) pinfold_guest_info > 0.5"
        ),
        lasts="10m",
        summary="The overhead threads of guest {{ $labels.guest }} on {{ $labels.instance }} wait {{ $value }} seconds in each second.",
    ),
    Alert(
        name="PinfoldOverheadPoolBusy",
        expr='rate(pinfold_pool_run_seconds_total{pool="overhead"}[5m]) / on (instance, pool) (pinfold_pool_cpus > 0) > 0.9',
        lasts="10m",
        summary="The overhead pool of {{ $labels.instance }} is busy for {{ $value | humanizePercentage }} of the time.",
    ),
    Alert(
        name="PinfoldOverheadPoolBooked",
        expr='pinfold_pool_booked_cpus{pool="overhead"} / (pinfold_pool_capacity_cpus > 0) > 0.9',
        lasts="10m",
        severity="info",
        summary="{{ $value | humanizePercentage }} of the overhead pool of {{ $labels.instance }} is booked.",
    ),
    Alert(
        name="PinfoldRepairUndone",
        expr='pinfold_drift{code="repair-undone"} > 0 or pinfold_notes{code="repair-undone"} > 0',
        summary="Somebody on {{ $labels.instance }} undoes repairs; pinfold left {{ $value }} guests alone.",
    ),
)
"""Alerts on one host, from `pinfold watch`."""

SERVICE: Final = (
    Alert(
        name="PinfoldApiDown",
        expr='up{job="pinfold"} == 0',
        lasts="1m",
        summary="The API process {{ $labels.instance }} does not answer.",
    ),
    Alert(
        name="PinfoldHostDown",
        expr="max without (instance) (pinfold_host_up) == 0 unless max without (instance) (pinfold_host_disabled) == 1",
        lasts="2m",
        summary="The agent of host {{ $labels.host }} is silent.",
    ),
    Alert(
        name="PinfoldServersInError",
        expr='max without (instance) (pinfold_servers{status="ERROR"}) > 0',
        lasts="5m",
        summary="{{ $value }} servers are in ERROR.",
    ),
    Alert(
        name="PinfoldOverheadPoolNearlyBooked",
        expr="max without (instance) (pinfold_overhead_booked_millicpu / (pinfold_overhead_capacity_millicpu > 0)) > 0.9",
        lasts="10m",
        summary="{{ $value | humanizePercentage }} of the overhead pool of {{ $labels.host }} is booked.",
    ),
    Alert(
        name="PinfoldDedicatedPoolNearlyFull",
        expr=(
            'sum by (host) (max without (instance) (pinfold_pcpus{role!="free"})) '
            "/ sum by (host) (max without (instance) (pinfold_pcpus)) > 0.9"
        ),
        lasts="10m",
        summary="{{ $value | humanizePercentage }} of the dedicated pCPUs of {{ $labels.host }} are taken.",
    ),
    Alert(
        name="PinfoldDrift",
        expr='max without (instance) (pinfold_findings{severity="drift"}) > 0',
        lasts="1m",
        summary="{{ $value }} findings {{ $labels.code }} on host {{ $labels.host }} break a promise.",
    ),
    Alert(
        name="PinfoldAuditsMissing",
        expr=(
            "max without (instance) (pinfold_host_up) == 1 unless on (host) "
            "time() - max without (instance) (pinfold_findings_reported_timestamp_seconds) < 900"
        ),
        lasts="15m",
        summary="The agent of host {{ $labels.host }} reports no audits.",
    ),
    Alert(
        name="PinfoldAccountsStale",
        expr="pinfold_accounts_stale == 1",
        summary="The API process {{ $labels.instance }} cannot use its accounts file.",
    ),
    Alert(
        name="PinfoldPasswordsRefused",
        expr='rate(pinfold_password_checks_total{outcome="refused"}[5m]) > 0',
        lasts="5m",
        summary="Somebody sends many wrong passwords to {{ $labels.instance }}.",
    ),
    Alert(
        name="PinfoldConnectionsRefused",
        expr='rate(pinfold_connections_ended_total{why="refused"}[5m]) > 0',
        lasts="5m",
        summary="The API process {{ $labels.instance }} reached a bound on connections.",
    ),
)
"""Alerts on a fleet, from `/metrics` of its service."""

GROUPS: Final = {"pinfold-watch": WATCH, "pinfold": SERVICE}


def rules() -> str:
    """The rule file."""
    groups = [{"name": name, "rules": [_rule(alert) for alert in alerts]} for name, alerts in GROUPS.items()]
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def _rule(alert: Alert) -> dict[str, Any]:
    lasts = {"for": alert.lasts} if alert.lasts else {}
    details = {"labels": {"severity": alert.severity}, "annotations": {"summary": alert.summary}}
    return {"alert": alert.name, "expr": alert.expr} | lasts | details
