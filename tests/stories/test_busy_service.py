"""A service to which too many agents report at once tells them when to come again. What keeps a lease is answered all the same."""

from __future__ import annotations

from contextlib import closing

import pytest
from tests.rig.in_process import Fleet
from tests.rig.served_fleet import served_fleet

from pinfold.agent.client import ServiceAway, ServiceClient
from pinfold.agent.wire import Hello
from pinfold.api.agent import backlog
from pinfold.core.drift.written import FindingsReport


def test_reports_are_refused_with_a_time_to_come_again_and_leases_are_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    for agent in (c1, c2):
        agent.ask("POST", "/heartbeat")
    count = c1.orders()["count"]
    hello = Hello(name="c2", report=c2.reported)
    monkeypatch.setattr(backlog, "MOST", 0)
    with served_fleet(fleet) as url, closing(ServiceClient(url, c1.token)) as known, closing(ServiceClient(url, c2.token)) as other:
        for call in (lambda: other.hello(hello), lambda: other.findings(FindingsReport()), lambda: other.orders(after=-1, wait=0.0)):
            with pytest.raises(ServiceAway, match=r"Too many agents report at once; come again in [0-9]+ seconds") as refused:
                call()
            assert 2.0 <= refused.value.again <= 132.0
        assert other.heartbeat().lease_seconds == fleet.services.lease_seconds
        assert known.orders(after=count, wait=3.0, renewed=lambda _: None).orders.count == count
        known.findings(FindingsReport())  # its poll has renewed the lease: it is up, and is not refused
        assert fleet.http.get("/v1/hosts/c1").json()["host"]["up"] is True
