"""Pools that the service orders: kept in the configuration, used, and reported where that fails."""

from __future__ import annotations

from tests.agent.script import Script

from pinfold.agent.actions import ReadOptions, SendReport, UsePools, WritePools
from pinfold.agent.events import OptionsRead, OrdersRead, PoolsWritten
from pinfold.agent.options import ORDERED
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import Orders
from pinfold.core.cpuset import CpuSet
from pinfold.core.pools import PoolConfig, PoolOrder
from pinfold.store.records import POOLS_REFUSED

ORDER = PoolOrder(shared=CpuSet.of(0), dedicated=CpuSet.of(1))
OTHER = PoolOrder(shared=CpuSet.of(1), dedicated=CpuSet.of(0))


def ordered(script: Script, pools: PoolOrder | None, *, count: int = 5) -> list[object]:
    parsed = ParsedOrders(orders=Orders(count=count, pools=pools))
    return list(script.tell(OrdersRead(parsed=parsed, polled=True, when=script.when())))


def read(script: Script, pools: PoolConfig) -> list[object]:
    return list(script.tell(OptionsRead(options=(), pools=pools, cause=ORDERED, when=script.when())))


def started() -> Script:
    script = Script()
    script.plays(())
    return script


def test_ordered_pools_are_written_then_read_then_used() -> None:
    script = started()
    assert WritePools(pools=ORDER) in ordered(script, ORDER)
    assert not any(isinstance(action, WritePools) for action in ordered(script, ORDER, count=6)), "it is under way"
    assert ReadOptions(cause=ORDERED) in script.tell(PoolsWritten(pools=ORDER, when=script.when()))
    assert UsePools(pools=ORDER.config) in read(script, ORDER.config)
    assert script.state.rules.pools == ORDER.config
    assert not any(isinstance(action, WritePools) for action in ordered(script, ORDER, count=7)), "it is done"


def test_a_withdrawn_order_removes_the_file() -> None:
    script = started()
    ordered(script, ORDER)
    script.tell(PoolsWritten(pools=ORDER, when=script.when()))
    assert WritePools(pools=None) in ordered(script, None, count=6)
    script.tell(PoolsWritten(pools=None, when=script.when()))
    assert not any(isinstance(action, WritePools) for action in ordered(script, None, count=7))


def test_an_order_that_changes_while_the_last_one_is_written_is_written_too() -> None:
    script = started()
    ordered(script, ORDER)
    ordered(script, OTHER, count=6)
    assert WritePools(pools=OTHER) in script.tell(PoolsWritten(pools=ORDER, when=script.when()))


def test_a_file_that_cannot_be_written_is_reported_and_tried_again() -> None:
    script = started()
    ordered(script, ORDER)
    script.fails(WritePools(pools=ORDER), "[Errno 30] Read-only file system", away=False)
    script.plays(())
    report = [action.report for action in script.begun if isinstance(action, SendReport)][-1]
    assert dict(report.facts)[POOLS_REFUSED] == "the pools that the service orders are not used: [Errno 30] Read-only file system"
    assert WritePools(pools=ORDER) in ordered(script, ORDER, count=script.state.orders.count if script.state.orders else 0)
    script.tell(PoolsWritten(pools=ORDER, when=script.when()))
    read(script, ORDER.config)
    script.plays(())
    report = [action.report for action in script.begun if isinstance(action, SendReport)][-1]
    assert POOLS_REFUSED not in dict(report.facts)


def test_a_file_that_overrules_the_ordered_pools_is_reported() -> None:
    script = started()
    ordered(script, ORDER)
    script.tell(PoolsWritten(pools=ORDER, when=script.when()))
    read(script, OTHER.config)
    assert "another file of the configuration, which is read later, has other pools" in script.logged[-1]
