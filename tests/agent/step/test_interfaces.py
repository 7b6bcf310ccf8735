"""What the agent does and says about interfaces that are attached and detached, step by step."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace
from tests.agent.script import G, Script, guest, id_of, order
from tests.build.orders import amended

from pinfold.agent.actions import Perform, SendGuest
from pinfold.agent.events import Outcome
from pinfold.agent.reconcile import Act, LastBoot, Memory
from pinfold.agent.wire import GuestOrder, GuestReport, InterfaceFailure, InterfacesReport
from pinfold.core.networks import Port, mac_of
from pinfold.drivers.port import GuestState, HostGuest

LAN, OUT = (Port(id=id_of(number), network="lan", mac=mac_of(id_of(number))) for number in (31, 32))
BOOTED = Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),))


def wanting(*ports: Port, detach: tuple[str, ...] = (), revision: int = 3) -> GuestOrder:
    return replace(amended(order(), revision=revision), ports=ports, detach=detach)


def having(*macs: str, revision: int = 3) -> HostGuest:
    return replace(guest(state=GuestState.RUNNING, revision=revision), macs=macs, kept_macs=macs)


def acts(script: Script) -> list[Act]:
    return [action.task.act for action in script.begun if isinstance(action, Perform)]


def last_report(script: Script) -> GuestReport:
    return [action.report for action in script.begun if isinstance(action, SendGuest)][-1]


def test_an_interface_is_attached_once_and_reported_when_it_is_there() -> None:
    script = Script(BOOTED)
    script.plays((wanting(LAN),), having())
    assert acts(script) == [Act.CHANGE_INTERFACES]
    script.ends(outcome=Outcome())
    script.plays((wanting(LAN),), having(LAN.mac))
    assert acts(script) == [Act.CHANGE_INTERFACES]
    assert last_report(script).interfaces == InterfacesReport(macs=(LAN.mac,))


def test_an_agent_that_died_between_attaching_and_reporting_reports_what_is_there() -> None:
    script = Script(BOOTED)
    script.plays((wanting(LAN),), having(LAN.mac))
    assert acts(script) == [] and last_report(script).interfaces == InterfacesReport(macs=(LAN.mac,))


def test_while_interfaces_are_being_changed_nothing_is_said_of_them() -> None:
    script = Script(BOOTED)
    script.plays((wanting(LAN, OUT),), replace(having(LAN.mac), macs=(LAN.mac, OUT.mac)))
    assert acts(script) == [Act.CHANGE_INTERFACES]
    assert all(action.report.interfaces is UNSET for action in script.begun if isinstance(action, SendGuest))


def test_a_failure_is_reported_and_not_repeated_until_the_order_changes() -> None:
    script = Script(BOOTED)
    failed = (InterfaceFailure(mac=LAN.mac, why="there is no bridge br9"),)
    script.plays((wanting(LAN, OUT),), having(OUT.mac))
    script.ends(outcome=Outcome(interfaces=failed))
    for _ in range(3):
        script.plays((wanting(LAN, OUT),), having(OUT.mac))
    assert acts(script) == [Act.CHANGE_INTERFACES]
    assert last_report(script).interfaces == InterfacesReport(macs=(OUT.mac,), failures=failed)
    again = wanting(LAN, OUT, revision=4)
    script.orders(again, count=2, polled=True)
    script.plays((again,), having(OUT.mac, revision=4))
    assert acts(script) == [Act.CHANGE_INTERFACES, Act.CHANGE_INTERFACES]


def test_a_guest_that_does_not_let_go_is_said_to_have_the_interface() -> None:
    script = Script(BOOTED)
    failed = (InterfaceFailure(mac=LAN.mac, why="the guest has not let go"),)
    wanted = wanting(detach=(LAN.mac,))
    script.plays((wanted,), having(LAN.mac))
    script.ends(outcome=Outcome(interfaces=failed))
    script.plays((wanted,), having(LAN.mac))
    assert last_report(script).interfaces == InterfacesReport(macs=(LAN.mac,), failures=failed)


def test_a_detached_interface_is_reported_as_gone() -> None:
    script = Script(BOOTED)
    wanted = wanting(OUT, detach=(LAN.mac,))
    script.plays((wanted,), having(LAN.mac, OUT.mac))
    script.ends(outcome=Outcome())
    script.plays((wanted,), having(OUT.mac))
    assert last_report(script).interfaces == InterfacesReport(macs=(OUT.mac,))


def test_a_guest_without_interfaces_in_its_order_says_nothing_of_them() -> None:
    script = Script(BOOTED)
    script.plays((order(),), having(LAN.mac))
    assert acts(script) == [] and last_report(script).interfaces is UNSET
