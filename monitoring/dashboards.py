"""The two dashboards of Grafana: hosts with `pinfold watch`, and a fleet's service. The JSON is made of the panels that are listed here.

`host=""` and `host!=""` tell apart the metrics that both export: only the service's have that label.
"""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Struct

from monitoring.alerts import OVERHEAD

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 12
_HEIGHT: Final = 8
_I: Final = 'instance=~"$instance"'
_H: Final = 'host=~"$host"'
_RATE: Final = "[$__rate_interval]"
_NAMED: Final = "* on (instance, id) group_left (guest) pinfold_guest_info"


class Panel(Struct, frozen=True, kw_only=True):
    """One panel: a query, and how its series are called. `now`: a table of the present instead of a graph."""

    title: str
    query: str
    legend: str
    unit: str = "short"
    now: bool = False


class Dashboard(Struct, frozen=True, kw_only=True):
    """A dashboard with its variable, whose values are those of a label of a metric."""

    uid: str
    title: str
    variable: str
    metric: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels of all rows."""
        return tuple(panel for _, panels in self.rows for panel in panels)


WATCH: Final = Dashboard(
    uid="pinfold-watch",
    title="pinfold: hosts",
    variable="instance",
    metric="pinfold_watch_info",
    rows=(
        (
            "Pools",
            (
                Panel(
                    title="How busy each pool is",
                    query=f"rate(pinfold_pool_run_seconds_total{{{_I}}}{_RATE}) / on (instance, pool) (pinfold_pool_cpus > 0)",
                    legend="{{instance}} {{pool}}",
                    unit="percentunit",
                ),
                Panel(
                    title="Waiting of threads that are confined to a pool, per second",
                    query=f"rate(pinfold_pool_run_delay_seconds_total{{{_I}}}{_RATE})",
                    legend="{{instance}} {{pool}}",
                    unit="s",
                ),
                Panel(
                    title="Booked of what may be booked",
                    query=f"pinfold_pool_booked_cpus{{{_I}}} / (pinfold_pool_capacity_cpus > 0)",
                    legend="{{instance}} {{pool}}",
                    unit="percentunit",
                ),
                Panel(title="Guests on each pool", query=f"pinfold_pool_guests{{{_I}}}", legend="{{instance}} {{pool}}"),
            ),
        ),
        (
            "Guests",
            (
                Panel(
                    title="Overhead threads that wait most, per second",
                    query=(
                        f"topk(10, sum by (instance, id) (rate(pinfold_guest_run_delay_seconds_total{{{_I}, {OVERHEAD}}}{_RATE})) {_NAMED})"
                    ),
                    legend="{{instance}} {{guest}}",
                    unit="s",
                ),
                Panel(
                    title="vCPUs that wait most, per second and vCPU",
                    query=(
                        f'topk(10, rate(pinfold_guest_run_delay_seconds_total{{{_I}, class="vcpu"}}{_RATE}) '
                        f"/ on (instance, id) (pinfold_guest_vcpus > 0) {_NAMED})"
                    ),
                    legend="{{instance}} {{guest}}",
                    unit="s",
                ),
                Panel(
                    title="Overhead threads that run most, in pCPUs",
                    query=f"topk(10, sum by (instance, id) (rate(pinfold_guest_run_seconds_total{{{_I}, {OVERHEAD}}}{_RATE})) {_NAMED})",
                    legend="{{instance}} {{guest}}",
                ),
                Panel(
                    title="Waiting before each slice of an emulator",
                    query=(
                        f'topk(10, rate(pinfold_guest_run_delay_seconds_total{{{_I}, class="emulator"}}{_RATE}) '
                        f"/ (rate(pinfold_guest_slices_total{_RATE}) > 0) {_NAMED})"
                    ),
                    legend="{{instance}} {{guest}}",
                    unit="s",
                ),
            ),
        ),
        (
            "pCPUs",
            (
                Panel(
                    title="pCPUs that others take from their owner",
                    query=(
                        f"topk(10, rate(pinfold_pcpu_others_run_seconds_total{{{_I}}}{_RATE}) "
                        "* on (instance, pcpu) group_right () pinfold_pcpu_owner)"
                    ),
                    legend="{{instance}} pCPU {{pcpu}} of {{guest}}",
                    unit="percentunit",
                ),
                Panel(
                    title="pCPUs with two owners",
                    query=f"count by (instance, pcpu) (pinfold_pcpu_owner{{{_I}}}) > 1",
                    legend="{{instance}} pCPU {{pcpu}}",
                ),
                Panel(
                    title="Who has which pCPU",
                    query=f"pinfold_pcpu_owner{{{_I}}} * on (instance, pcpu) group_left (cell, core, pool) pinfold_pcpu_info",
                    legend="{{pcpu}}",
                    now=True,
                ),
            ),
        ),
        (
            "Drift and repairs",
            (
                Panel(
                    title="Findings that break a promise",
                    query=f"sum by (instance, class, code) (pinfold_drift{{{_I}}})",
                    legend="{{instance}} {{code}} {{class}}",
                ),
                Panel(
                    title="Other findings",
                    query=f"sum by (instance, class, code) (pinfold_notes{{{_I}}})",
                    legend="{{instance}} {{code}} {{class}}",
                ),
                Panel(
                    title="Repairs since the watch began",
                    query=f'sum by (instance, class, result) (pinfold_repairs_total{{{_I}, host=""}})',
                    legend="{{instance}} {{class}} {{result}}",
                ),
            ),
        ),
        (
            "Room",
            (
                Panel(
                    title="How many more guests fit",
                    query=f'pinfold_free_slots{{{_I}, host=""}}',
                    legend="{{instance}} {{flavor}}",
                ),
                Panel(
                    title="Free dedicated pCPUs that no flavor can use",
                    query=f'pinfold_stranded_cpus{{{_I}, host=""}}',
                    legend="{{instance}} {{cause}}",
                ),
            ),
        ),
        (
            "The watch",
            (
                Panel(title="How long a sweep takes", query=f"pinfold_sweep_duration_seconds{{{_I}}}", legend="{{instance}}", unit="s"),
                Panel(
                    title="Time since the last sweep that succeeded",
                    query=f"time() - pinfold_last_sweep_timestamp_seconds{{{_I}}}",
                    legend="{{instance}}",
                    unit="s",
                ),
                Panel(title="Guests that cannot be read", query=f"pinfold_guests_unread{{{_I}}}", legend="{{instance}}"),
                Panel(
                    title="Sweeps per second, by result",
                    query=f"rate(pinfold_sweeps_total{{{_I}}}{_RATE})",
                    legend="{{instance}} {{result}}",
                ),
            ),
        ),
    ),
)
"""Hosts with `pinfold watch`; the variable chooses which."""

SERVICE: Final = Dashboard(
    uid="pinfold-service",
    title="pinfold: service",
    variable="host",
    metric="pinfold_host_up",
    rows=(
        (
            "Hosts",
            (
                Panel(title="Hosts whose agent speaks", query=f"max by (host) (pinfold_host_up{{{_H}}})", legend="{{host}}"),
                Panel(title="Hosts that take no new guests", query=f"max by (host) (pinfold_host_disabled{{{_H}}})", legend="{{host}}"),
                Panel(
                    title="Overhead booked of what may be booked",
                    query=f"max by (host) (pinfold_overhead_booked_millicpu{{{_H}}} / (pinfold_overhead_capacity_millicpu > 0))",
                    legend="{{host}}",
                    unit="percentunit",
                ),
                Panel(
                    title="Dedicated pCPUs by what they are doing",
                    query=f"sum by (role) (max by (host, role) (pinfold_pcpus{{{_H}}}))",
                    legend="{{role}}",
                ),
                Panel(title="Floating vCPUs", query=f"max by (host) (pinfold_floating_vcpus{{{_H}}})", legend="{{host}}"),
            ),
        ),
        (
            "Room",
            (
                Panel(
                    title="How many more guests fit",
                    query=f'sum by (flavor) (max by (host, flavor) (pinfold_free_slots{{{_H}, host!=""}}))',
                    legend="{{flavor}}",
                ),
                Panel(
                    title="Free dedicated pCPUs that no flavor can use",
                    query=f'sum by (cause) (max by (host, cause) (pinfold_stranded_cpus{{{_H}, host!=""}}))',
                    legend="{{cause}}",
                ),
            ),
        ),
        (
            "Servers",
            (
                Panel(title="Servers by status", query="max by (status) (pinfold_servers)", legend="{{status}}"),
                Panel(
                    title="Refused creates by reason, per second",
                    query=f"sum by (code) (rate(pinfold_refusals_total{_RATE}))",
                    legend="{{code}}",
                ),
                Panel(
                    title="Findings of the agents' audits",
                    query=f"sum by (host, code, severity) (max by (host, code, severity) (pinfold_findings{{{_H}}}))",
                    legend="{{host}} {{severity}} {{code}}",
                ),
                Panel(
                    title="Repairs since each agent began",
                    query=f'sum by (host, class, result) (max by (host, class, result) (pinfold_repairs_total{{{_H}, host!=""}}))',
                    legend="{{host}} {{class}} {{result}}",
                ),
                Panel(
                    title="Time since the last report of an audit",
                    query=f"time() - max by (host) (pinfold_findings_reported_timestamp_seconds{{{_H}}})",
                    legend="{{host}}",
                    unit="s",
                ),
            ),
        ),
        (
            "API processes",
            (
                Panel(title="Open connections", query="pinfold_connections", legend="{{instance}} {{of}}"),
                Panel(
                    title="Connections that bounds ended, per second",
                    query=f"rate(pinfold_connections_ended_total{_RATE})",
                    legend="{{instance}} {{why}}",
                ),
                Panel(
                    title="Requests with a password, per second",
                    query=f"rate(pinfold_password_checks_total{_RATE})",
                    legend="{{instance}} {{outcome}}",
                ),
                Panel(title="Password checks that wait", query="pinfold_password_checks_waiting", legend="{{instance}}"),
            ),
        ),
    ),
)
"""A fleet's service; the variable chooses hosts."""

DASHBOARDS: Final = (WATCH, SERVICE)


def dashboard(made: Dashboard) -> str:
    """The JSON that Grafana imports. A variable chooses the data source."""
    document = {
        "uid": made.uid,
        "title": made.title,
        "tags": ["pinfold"],
        "schemaVersion": 37,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), _variable(made)]},
        "panels": _laid_out(made),
    }
    return json.dumps(document, indent=1) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source", "current": {}, "hide": 0}


def _variable(made: Dashboard) -> dict[str, Any]:
    query = f"label_values({made.metric}, {made.variable})"
    return {
        "name": made.variable,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": made.variable},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _laid_out(made: Dashboard) -> list[dict[str, Any]]:
    """Rows of two panels each, below the title of their row."""
    laid: list[dict[str, Any]] = []
    top = 0
    for title, panels in made.rows:
        laid.append(
            {"id": len(laid) + 1, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, top, 24, 1)}
        )
        top += 1
        for number, panel in enumerate(panels):
            place = _place(number % 2 * _WIDTH, top + number // 2 * _HEIGHT, _WIDTH, _HEIGHT)
            laid.append(_panel(panel) | {"id": len(laid) + 1, "gridPos": place})
        top += (len(panels) + 1) // 2 * _HEIGHT
    return laid


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    shown = {"instant": True, "format": "table"} if panel.now else {"range": True, "legendFormat": panel.legend}
    return {
        "type": "table" if panel.now else "timeseries",
        "title": panel.title,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [{"refId": "A", "datasource": _DATASOURCE, "expr": panel.query} | shown],
    }
