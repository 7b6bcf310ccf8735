"""Each alert fires on the series that it is meant for, and on the ones beside those it does not: run by `promtool test rules`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monitoring.alerts import GROUPS
from monitoring.generate import FOLDER
from msgspec import Struct
from tests.rig.prometheus import needs_prometheus, promtool

ALERTS = tuple(alert for alerts in GROUPS.values() for alert in alerts)
_MINUTES = 60
"""How long the made-up series are, with a sample each 30 seconds."""


class Case(Struct, frozen=True, kw_only=True):
    """Series as promtool writes them, on which an alert fires with the labels `fires`, and others on which it does not."""

    fires: str
    on: tuple[str, ...]
    quiet_on: tuple[str, ...]


def steady(series: str, value: float) -> str:
    """A gauge."""
    return f"{series} {value}+0x{2 * _MINUTES}"


def growing(series: str, per_second: float) -> str:
    """A counter."""
    return f"{series} 0+{30 * per_second:g}x{2 * _MINUTES}"


_INFO = steady('pinfold_guest_info{instance="a",id="1",guest="web"}', 1)
_WAIT = 'pinfold_guest_run_delay_seconds_total{instance="a",id="1",class="%s"}'
_OWNER = 'pinfold_pcpu_owner{instance="%s",pcpu="7",id="%s"}'
_POOL = '{instance="a",pool="%s"}'
_BOTH = ('instance="api1",host="c1"', 'instance="api2",host="c1"')


def _on_both(name: str, value: float, more: str = "") -> tuple[str, ...]:
    return tuple(steady(f"{name}{{{labels}{more}}}", value) for labels in _BOTH)


CASES = {
    "PinfoldWatchDown": Case(
        fires='instance="a",job="pinfold-watch"',
        on=(steady('up{instance="a",job="pinfold-watch"}', 0),),
        quiet_on=(steady('up{instance="a",job="pinfold-watch"}', 1), steady('up{instance="a",job="other"}', 0)),
    ),
    "PinfoldSweepsMissing": Case(
        fires='instance="a"',
        on=(steady('pinfold_last_sweep_timestamp_seconds{instance="a"}', 0),),
        quiet_on=(growing('pinfold_last_sweep_timestamp_seconds{instance="a"}', 1),),
    ),
    "PinfoldGuestsUnread": Case(
        fires='instance="a"',
        on=(steady('pinfold_guests_unread{instance="a"}', 1),),
        quiet_on=(steady('pinfold_guests_unread{instance="a"}', 0),),
    ),
    "PinfoldGuestDrift": Case(
        fires='instance="a",class="emulator",code="emulator-thread"',
        on=(steady('pinfold_drift{instance="a",class="emulator",code="emulator-thread"}', 2),),
        quiet_on=(steady('pinfold_notes{instance="a",class="emulator",code="emulator-thread"}', 2),),
    ),
    "PinfoldTwoOwners": Case(
        fires='instance="a",pcpu="7"',
        on=(steady(_OWNER % ("a", 1), 1), steady(_OWNER % ("a", 2), 1)),
        quiet_on=(steady(_OWNER % ("a", 1), 1), steady(_OWNER % ("b", 2), 1)),
    ),
    "PinfoldPcpuTaken": Case(
        fires='instance="a",pcpu="7"',
        on=(growing('pinfold_pcpu_others_run_seconds_total{instance="a",pcpu="7"}', 0.1),),
        quiet_on=(growing('pinfold_pcpu_others_run_seconds_total{instance="a",pcpu="7"}', 0.01),),
    ),
    "PinfoldOverheadStarves": Case(
        fires='instance="a",id="1",guest="web"',
        on=(_INFO, growing(_WAIT % "emulator", 0.4), growing(_WAIT % "iothread", 0.4)),
        quiet_on=(_INFO, growing(_WAIT % "emulator", 0.4), growing(_WAIT % "vcpu", 0.4)),
    ),
    "PinfoldOverheadPoolBusy": Case(
        fires='instance="a",pool="overhead"',
        on=(growing("pinfold_pool_run_seconds_total" + _POOL % "overhead", 1.9), steady("pinfold_pool_cpus" + _POOL % "overhead", 2)),
        quiet_on=(growing("pinfold_pool_run_seconds_total" + _POOL % "overhead", 1.7), steady("pinfold_pool_cpus" + _POOL % "overhead", 2)),
    ),
    "PinfoldOverheadPoolBooked": Case(
        fires='instance="a",pool="overhead"',
        on=(steady("pinfold_pool_booked_cpus" + _POOL % "overhead", 1.9), steady("pinfold_pool_capacity_cpus" + _POOL % "overhead", 2)),
        quiet_on=(steady("pinfold_pool_booked_cpus" + _POOL % "shared", 1.9), steady("pinfold_pool_capacity_cpus" + _POOL % "shared", 2)),
    ),
    "PinfoldRepairUndone": Case(
        fires='instance="a",class="",code="repair-undone"',
        on=(steady('pinfold_drift{instance="a",class="",code="repair-undone"}', 1),),
        quiet_on=(steady('pinfold_drift{instance="a",class="",code="two-owners"}', 1),),
    ),
    "PinfoldApiDown": Case(
        fires='instance="api1",job="pinfold"',
        on=(steady('up{instance="api1",job="pinfold"}', 0), steady('up{instance="api2",job="pinfold"}', 1)),
        quiet_on=(steady('up{instance="api1",job="pinfold"}', 1), steady('up{instance="api1",job="other"}', 0)),
    ),
    "PinfoldHostDown": Case(
        fires='host="c1"',
        on=(*_on_both("pinfold_host_up", 0), *_on_both("pinfold_host_disabled", 0)),
        quiet_on=(*_on_both("pinfold_host_up", 0), *_on_both("pinfold_host_disabled", 1)),
    ),
    "PinfoldServersInError": Case(
        fires='status="ERROR"',
        on=(steady('pinfold_servers{instance="api1",status="ERROR"}', 1), steady('pinfold_servers{instance="api2",status="ERROR"}', 1)),
        quiet_on=(steady('pinfold_servers{instance="api1",status="ACTIVE"}', 1),),
    ),
    "PinfoldOverheadPoolNearlyBooked": Case(
        fires='host="c1"',
        on=(*_on_both("pinfold_overhead_booked_millicpu", 1900), *_on_both("pinfold_overhead_capacity_millicpu", 2000)),
        quiet_on=(*_on_both("pinfold_overhead_booked_millicpu", 0), *_on_both("pinfold_overhead_capacity_millicpu", 0)),
    ),
    "PinfoldDedicatedPoolNearlyFull": Case(
        fires='host="c1"',
        on=_on_both("pinfold_pcpus", 14, ',role="pinned"'),
        quiet_on=(*_on_both("pinfold_pcpus", 14, ',role="pinned"'), *_on_both("pinfold_pcpus", 2, ',role="free"')),
    ),
    "PinfoldDrift": Case(
        fires='host="c1",code="two-owners"',
        on=_on_both("pinfold_findings", 1, ',code="two-owners",severity="drift"'),
        quiet_on=_on_both("pinfold_findings", 1, ',code="two-owners",severity="note"'),
    ),
    "PinfoldAuditsMissing": Case(
        fires='host="c1"',
        on=(*_on_both("pinfold_host_up", 1), *_on_both("pinfold_findings_reported_timestamp_seconds", 0)),
        quiet_on=(*_on_both("pinfold_host_up", 1), growing(f"pinfold_findings_reported_timestamp_seconds{{{_BOTH[0]}}}", 1)),
    ),
    "PinfoldAccountsStale": Case(
        fires='instance="api1"',
        on=(steady('pinfold_accounts_stale{instance="api1"}', 1),),
        quiet_on=(steady('pinfold_accounts_stale{instance="api1"}', 0),),
    ),
    "PinfoldPasswordsRefused": Case(
        fires='instance="api1",outcome="refused"',
        on=(growing('pinfold_password_checks_total{instance="api1",outcome="refused"}', 1),),
        quiet_on=(growing('pinfold_password_checks_total{instance="api1",outcome="wrong"}', 1),),
    ),
    "PinfoldConnectionsRefused": Case(
        fires='instance="api1",why="refused"',
        on=(growing('pinfold_connections_ended_total{instance="api1",why="refused"}', 1),),
        quiet_on=(growing('pinfold_connections_ended_total{instance="api1",why="gave way"}', 1),),
    ),
}


def test_every_alert_has_a_case() -> None:
    assert [alert.name for alert in ALERTS] == list(CASES)


@needs_prometheus
@pytest.mark.parametrize("firing", [True, False], ids=["each fires on what it is for", "none fires on what it is not for"])
def test_alerts(firing: bool, tmp_path: Path) -> None:
    tests = []
    for alert in ALERTS:
        case = CASES[alert.name]
        labels = f'ALERTS{{alertname="{alert.name}",alertstate="firing",severity="{alert.severity}",{case.fires}}}'
        series = [dict(zip(("series", "values"), one.rsplit(" ", 1), strict=True)) for one in (case.on if firing else case.quiet_on)]
        expected = {
            "expr": f'ALERTS{{alertname="{alert.name}"}}',
            "eval_time": f"{_MINUTES}m",
            "exp_samples": [{"labels": labels, "value": 1}] if firing else [],
        }
        tests.append({"interval": "30s", "input_series": series, "promql_expr_test": [expected]})
    given = {"rule_files": [str(FOLDER / "pinfold-alerts.yml")], "evaluation_interval": "30s", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(given))
    promtool("test", "rules", str(tmp_path / "tests.yml"))
