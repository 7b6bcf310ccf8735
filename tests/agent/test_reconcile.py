"""What the agent does next, case by case."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build import orders
from tests.build.fits import fit as fitted

from pinfold.agent.reconcile import (
    Act,
    LastBoot,
    Memory,
    Patience,
    PresentGuest,
    is_over,
    reconcile,
    remember_absence,
    remember_boot,
)
from pinfold.agent.wire import GuestOrder, Orders
from pinfold.core.adoption import Takeover
from pinfold.core.identity import ClaimId
from pinfold.core.networks import Port, mac_of
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired, Pause, Tombstone

NOW = "host-boot-2"


def order(desired: Desired, *, revision: int = 5, boot: int = 1, guest: str = "g", hard: bool = False) -> GuestOrder:
    return orders.order(guest, desired, claim=_claim(revision), revision=revision, boot=boot, hard=hard)


def ordered(*entries: GuestOrder, stones: tuple[Tombstone, ...] = ()) -> Orders:
    return Orders(count=1, orders=entries, tombstones=stones)


def present(state: GuestState, *, revision: int = 5, guest: str = "g") -> PresentGuest:
    return PresentGuest(guest=guest, state=state, revision=revision, claim=_claim(revision))


def _claim(held: int) -> ClaimId:
    return ClaimId(f"claim {held}")


def booted(boot: int = 1, host_boot: str = NOW, failure: str = "") -> Memory:
    return Memory(booted=(LastBoot(guest="g", boot=boot, host_boot=host_boot, failure=failure),))


FAILED = booted(2, failure="no such image")


BURIED = Memory(tombstones=(Tombstone(guest="g", revision=5, claim=_claim(5)),))

UNNAMED = Memory(tombstones=(Tombstone(guest="g", revision=5),))
AMENDED = orders.amended(order(Desired.RUNNING), revision=9)
PAUSED = replace(order(Desired.RUNNING), pause=Pause.IN_MEMORY)
SAVED = replace(order(Desired.RUNNING), pause=Pause.ON_DISK)


def taken(takeover: Takeover, desired: Desired = Desired.RUNNING, **more: Any) -> GuestOrder:
    """An order for a domain that this agent did not make."""
    return replace(order(desired, **more), takeover=takeover)


def anew(desired: Desired = Desired.RUNNING, *, heard: int = 1, rebuild: int = 2, boot: int = 2, revision: int = 5) -> GuestOrder:
    """An order for a guest that is to get a new disk; the service has heard of that many boots."""
    return replace(order(desired, boot=boot, revision=revision), rebuild=rebuild, booted=heard)


ADOPT, ADOPTED, RELEASE = Takeover.ADOPT, Takeover.ADOPTED, Takeover.RELEASE

CASES = {
    "a running guest gets its new disk, and is not asked to shut down before that": (
        anew(),
        present(GuestState.RUNNING),
        booted(),
        Act.REBUILD,
    ),
    "so does a stopped one that stays stopped": (anew(Desired.STOPPED), present(GuestState.STOPPED), booted(), Act.REBUILD),
    "and one that lost its definition on the way": (anew(), None, booted(), Act.REBUILD),
    "and one that a crash left paused on the way": (anew(), present(GuestState.PAUSED), booted(), Act.REBUILD),
    "and one that this agent forgot, as far as the service knows": (anew(), present(GuestState.RUNNING), Memory(), Act.REBUILD),
    "a new disk comes before a new place": (
        orders.amended(anew(), revision=9),
        present(GuestState.RUNNING),
        booted(),
        Act.REBUILD,
    ),
    "a new disk is made once": (anew(), present(GuestState.RUNNING), booted(2), None),
    "also where the service has not heard of it": (anew(Desired.STOPPED), present(GuestState.STOPPED), booted(2), None),
    "one that could not be made is not tried again by itself": (anew(), present(GuestState.RUNNING), FAILED, None),
    "the next boot goes on with it": (anew(boot=3, heard=2), present(GuestState.STOPPED), FAILED, Act.RESTART),
    "another rebuild replaces it": (anew(boot=3, rebuild=3, heard=2), present(GuestState.RUNNING), FAILED, Act.REBUILD),
    "a guest of another claim gets no new disk": (anew(), present(GuestState.STOPPED, revision=4), booted(), Act.UNDEFINE),
    "a guest to be absent gets none either": (anew(Desired.ABSENT), present(GuestState.STOPPED), booted(), Act.REMOVE),
    "nor does a domain that this agent did not make": (
        replace(anew(), takeover=Takeover.ADOPTED),
        present(GuestState.STOPPED),
        booted(),
        Act.RESTART,
    ),
    "a guest that is not there is started": (order(Desired.RUNNING), None, Memory(), Act.START),
    "a domain that is to be adopted is taken over": (taken(ADOPT), None, Memory(), Act.ADOPT),
    "so is one that is stopped": (taken(ADOPT, Desired.STOPPED), None, Memory(), Act.ADOPT),
    "so is one that is paused": (replace(taken(ADOPT), pause=Pause.IN_MEMORY), None, Memory(), Act.ADOPT),
    "once it has our record, nothing is left to do": (taken(ADOPT), present(GuestState.RUNNING), Memory(), None),
    "a stale order adopts nothing": (taken(ADOPT), None, BURIED, Act.REFUSE_STALE),
    "an adopted domain that is gone is not started": (taken(ADOPTED), None, booted(), None),
    "nor by an agent that forgot it": (taken(ADOPTED), None, Memory(), None),
    "an adopted guest is stopped": (taken(ADOPTED, Desired.STOPPED), present(GuestState.RUNNING), booted(), Act.SHUT_DOWN),
    "and started when asked": (taken(ADOPTED, boot=2), present(GuestState.STOPPED), booted(), Act.RESTART),
    "an adopted domain with the record of another claim loses it": (
        taken(ADOPTED),
        present(GuestState.RUNNING, revision=4),
        booted(),
        Act.RELEASE,
    ),
    "one that is to be released keeps its domain": (taken(RELEASE, Desired.ABSENT), present(GuestState.RUNNING), booted(), Act.RELEASE),
    "that it has no record any more is confirmed": (taken(RELEASE, Desired.ABSENT), None, booted(), Act.CONFIRM_ABSENT),
    "an adopted server that its user deletes is removed": (
        taken(ADOPTED, Desired.ABSENT),
        present(GuestState.RUNNING),
        booted(),
        Act.REMOVE,
    ),
    "a running guest is left alone": (order(Desired.RUNNING), present(GuestState.RUNNING), booted(), None),
    "a running guest that this agent forgot is left alone": (order(Desired.RUNNING), present(GuestState.RUNNING), Memory(), None),
    "a guest left paused by a crash is finished": (order(Desired.RUNNING), present(GuestState.PAUSED), Memory(), Act.FINISH),
    "a guest of another claim is undefined first": (order(Desired.RUNNING), present(GuestState.PAUSED, revision=4), Memory(), Act.UNDEFINE),
    "a guest of another claim that ran is undefined, no more": (
        order(Desired.RUNNING, boot=2),
        present(GuestState.STOPPED, revision=4),
        booted(),
        Act.UNDEFINE,
    ),
    "a guest that powered itself off stays off": (order(Desired.RUNNING), present(GuestState.STOPPED), booted(), None),
    "a guest is started again when asked": (order(Desired.RUNNING, boot=2), present(GuestState.STOPPED), booted(), Act.RESTART),
    "a running guest is asked before it is rebooted": (
        order(Desired.RUNNING, boot=2),
        present(GuestState.RUNNING),
        booted(),
        Act.SHUT_DOWN,
    ),
    "a guest that shut down for its reboot is started": (
        order(Desired.RUNNING, boot=2),
        present(GuestState.STOPPED),
        booted(),
        Act.RESTART,
    ),
    "a hard reboot asks nobody": (order(Desired.RUNNING, boot=2, hard=True), present(GuestState.RUNNING), booted(), Act.REBOOT),
    "a hard reboot of a guest that is off starts it": (
        order(Desired.RUNNING, boot=2, hard=True),
        present(GuestState.STOPPED),
        booted(),
        Act.RESTART,
    ),
    "a paused guest cannot hear, and is rebooted": (order(Desired.RUNNING, boot=2), present(GuestState.PAUSED), booted(), Act.REBOOT),
    "a start that failed is not tried again by itself": (order(Desired.RUNNING, boot=2), present(GuestState.STOPPED), FAILED, None),
    "nor where it left no definition": (order(Desired.RUNNING, boot=2), None, FAILED, None),
    "a start that failed is tried again when asked": (order(Desired.RUNNING, boot=3), present(GuestState.STOPPED), FAILED, Act.RESTART),
    "also where it left no definition": (order(Desired.RUNNING, boot=3), None, FAILED, Act.START),
    "and once the host itself rebooted": (order(Desired.RUNNING, boot=2), None, booted(2, "x", failure="no such image"), Act.START),
    "a guest whose definition somebody removed is started": (order(Desired.RUNNING), None, booted(), Act.START),
    "a guest whose start failed can be removed": (order(Desired.ABSENT), None, FAILED, Act.CONFIRM_ABSENT),
    "a host's reboot starts its guests again": (order(Desired.RUNNING), present(GuestState.STOPPED), booted(1, "host-boot-1"), Act.RESTART),
    "a defined guest that never ran is started": (order(Desired.RUNNING), present(GuestState.STOPPED), Memory(), Act.RESTART),
    "a running guest is asked before it is stopped": (order(Desired.STOPPED), present(GuestState.RUNNING), booted(), Act.SHUT_DOWN),
    "a paused guest cannot hear, and is stopped": (order(Desired.STOPPED), present(GuestState.PAUSED), booted(), Act.STOP),
    "a stopped guest stays stopped over a host's reboot": (order(Desired.STOPPED), present(GuestState.STOPPED), booted(1, "x"), None),
    "a stopped order starts nothing": (order(Desired.STOPPED), None, Memory(), None),
    "a guest to be absent is removed": (order(Desired.ABSENT), present(GuestState.STOPPED), booted(), Act.REMOVE),
    "a guest that is gone is confirmed gone": (order(Desired.ABSENT), None, Memory(), Act.CONFIRM_ABSENT),
    "a late start order meets its tombstone": (order(Desired.RUNNING), None, BURIED, Act.REFUSE_STALE),
    "a newer claim of a buried guest starts": (order(Desired.RUNNING, revision=6), None, BURIED, Act.START),
    "an absence is confirmed again for a buried guest": (order(Desired.ABSENT), None, BURIED, Act.CONFIRM_ABSENT),
    "a late start order for an amended claim meets its tombstone": (
        AMENDED,
        None,
        BURIED,
        Act.REFUSE_STALE,
    ),
    "an older claim of a buried guest is no matter of its tombstone": (order(Desired.RUNNING, revision=4), None, BURIED, Act.START),
    "a late start order meets the tombstone of an earlier pinfold": (order(Desired.RUNNING), None, UNNAMED, Act.REFUSE_STALE),
    "a newer claim passes the tombstone of an earlier pinfold": (order(Desired.RUNNING, revision=6), None, UNNAMED, Act.START),
    "a running guest whose claim was amended gets its record amended": (AMENDED, present(GuestState.RUNNING), booted(), Act.AMEND),
    "so does one that a crash left paused": (AMENDED, present(GuestState.PAUSED), Memory(), Act.AMEND),
    "and one that is off": (AMENDED, present(GuestState.STOPPED), booted(), Act.AMEND),
    "and one that is to be rebooted, before that": (replace(AMENDED, boot=2), present(GuestState.RUNNING), booted(), Act.AMEND),
    "a hard reboot ends a guest that cannot be amended": (
        replace(AMENDED, boot=2, hard=True),
        present(GuestState.RUNNING),
        booted(),
        Act.STOP,
    ),
    "also one that is paused": (replace(AMENDED, boot=2, hard=True), present(GuestState.PAUSED), booted(), Act.STOP),
    "it is amended once it is off": (replace(AMENDED, boot=2, hard=True), present(GuestState.STOPPED), booted(), Act.AMEND),
    "and started then": (
        replace(AMENDED, boot=2, hard=True),
        replace(present(GuestState.STOPPED), revision=9),
        booted(),
        Act.RESTART,
    ),
    "a hard reboot that is done ends nothing": (
        replace(AMENDED, boot=2, hard=True),
        present(GuestState.RUNNING),
        booted(2),
        Act.AMEND,
    ),
    "a guest that cannot be amended is stopped": (
        replace(AMENDED, desired=Desired.STOPPED, hard=True),
        present(GuestState.RUNNING),
        booted(),
        Act.STOP,
    ),
    "or is asked to shut down": (replace(AMENDED, desired=Desired.STOPPED), present(GuestState.RUNNING), booted(), Act.SHUT_DOWN),
    "an older order amends nothing": (order(Desired.RUNNING), replace(present(GuestState.RUNNING), revision=9), booted(), None),
    "a record that names no claim is known by its revision, and amended": (
        order(Desired.RUNNING),
        replace(present(GuestState.RUNNING), claim=None),
        booted(),
        Act.AMEND,
    ),
    "also where the claim was amended since": (AMENDED, replace(present(GuestState.RUNNING), claim=None), booted(), Act.AMEND),
    "also of a guest that is to stay off": (
        order(Desired.STOPPED),
        replace(present(GuestState.STOPPED), claim=None),
        booted(),
        Act.AMEND,
    ),
    "a running guest is paused in memory": (PAUSED, present(GuestState.RUNNING), booted(), Act.PAUSE),
    "one that is paused in memory stays so": (PAUSED, present(GuestState.PAUSED), booted(), None),
    "also when this agent forgot its boot": (replace(PAUSED, booted=1), present(GuestState.PAUSED), Memory(), None),
    "one that stopped while it was to be paused stays off": (PAUSED, present(GuestState.STOPPED), booted(), None),
    "also over a host's reboot, which loses its memory": (PAUSED, present(GuestState.STOPPED), booted(1, "host-boot-1"), None),
    "one that is not to be paused any more goes on": (order(Desired.RUNNING), present(GuestState.PAUSED), booted(), Act.FINISH),
    "a running guest is saved to disk": (SAVED, present(GuestState.RUNNING), booted(), Act.SUSPEND),
    "one that somebody paused in memory is saved to disk": (SAVED, present(GuestState.PAUSED), booted(), Act.SUSPEND),
    "one that was saved to disk stays off": (SAVED, present(GuestState.STOPPED), booted(1, "host-boot-1"), None),
    "also when this agent forgot its boot and knows it from the order": (
        replace(SAVED, booted=1),
        present(GuestState.STOPPED),
        Memory(),
        None,
    ),
    "a guest that never booted is not paused but started": (PAUSED, None, Memory(), Act.START),
    "a later boot of a paused guest comes first": (replace(PAUSED, boot=2), present(GuestState.PAUSED), booted(), Act.REBOOT),
    "a paused guest whose claim was amended gets its record first": (
        replace(AMENDED, pause=Pause.IN_MEMORY),
        present(GuestState.PAUSED),
        booted(),
        Act.AMEND,
    ),
    "a paused guest of another claim is undefined": (PAUSED, present(GuestState.PAUSED, revision=4), booted(), Act.UNDEFINE),
    "a record that names no claim and has another revision is of another claim": (
        order(Desired.RUNNING),
        replace(present(GuestState.STOPPED, revision=4), claim=None),
        booted(),
        Act.UNDEFINE,
    ),
}


@pytest.mark.parametrize(("wanted", "shown", "memory", "act"), CASES.values(), ids=CASES.keys())
def test_one_guest(wanted: GuestOrder, shown: PresentGuest | None, memory: Memory, act: Act | None) -> None:
    tasks = reconcile(ordered(wanted), (shown,) if shown else (), memory, NOW)
    assert [task.act for task in tasks] == ([act] if act else [])


ASKED = Patience(waiting=frozenset({"g"}))
OVER = Patience(over=frozenset({"g"}))
ENDINGS = {
    "a guest that was asked to stop has its time": (order(Desired.STOPPED), ASKED, None),
    "and is stopped after it": (order(Desired.STOPPED), OVER, Act.STOP),
    "without any time it is stopped at once": (order(Desired.STOPPED), Patience(asks=False), Act.STOP),
    "a guest that was asked for a reboot has its time": (order(Desired.RUNNING, boot=2), ASKED, None),
    "and is rebooted after it": (order(Desired.RUNNING, boot=2), OVER, Act.REBOOT),
    "a hard reboot overtakes one that is not": (order(Desired.RUNNING, boot=3, hard=True), ASKED, Act.REBOOT),
    "a delete waits for nobody": (order(Desired.ABSENT), ASKED, Act.REMOVE),
    "a guest that is to go on running is left alone": (order(Desired.RUNNING), OVER, None),
}


@pytest.mark.parametrize(("wanted", "patience", "act"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_running_guest_that_is_to_end(wanted: GuestOrder, patience: Patience, act: Act | None) -> None:
    tasks = reconcile(ordered(wanted), (present(GuestState.RUNNING),), booted(), NOW, patience)
    assert [task.act for task in tasks] == ([act] if act else [])


def test_a_guest_without_an_order_is_left_alone() -> None:
    assert reconcile(ordered(), (present(GuestState.RUNNING),), booted(), NOW) == ()


def test_removals_come_before_starts() -> None:
    wanted = ordered(order(Desired.RUNNING, guest="a"), order(Desired.ABSENT, guest="z"), order(Desired.STOPPED, guest="y"))
    shown = (present(GuestState.RUNNING, guest="z"), present(GuestState.RUNNING, guest="y"))
    assert [task.act for task in reconcile(wanted, shown, Memory(), NOW)] == [Act.REMOVE, Act.SHUT_DOWN, Act.START]


def test_a_guest_without_an_order_is_removed_by_its_tombstone() -> None:
    stone, other = Tombstone(guest="g", revision=5, claim=_claim(5)), Tombstone(guest="g", revision=9, claim=_claim(9))
    here = (present(GuestState.RUNNING),)
    assert [(task.act, task.order) for task in reconcile(ordered(stones=(other, stone)), here, booted(), NOW)] == [(Act.REMOVE, stone)]
    assert reconcile(ordered(stones=(stone,)), (), booted(), NOW) == ()
    assert reconcile(ordered(stones=(other,)), here, booted(), NOW) == ()
    assert reconcile(ordered(order(Desired.RUNNING), stones=(stone,)), here, booted(), NOW) == ()


PORTS = tuple(Port(id=str(uuid.UUID(int=n)), network="lan", mac=mac_of(str(uuid.UUID(int=n)))) for n in range(3))
MACS = tuple(port.mac for port in PORTS)
LAN, OUT, WAN = PORTS


def connected(*ports: Port, detach: tuple[str, ...] = (), **more: Any) -> GuestOrder:
    """An order for a guest with these interfaces, which is to lose others."""
    return replace(order(more.pop("desired", Desired.RUNNING), **more), ports=ports, detach=detach)


def having(state: GuestState, *macs: str, half: tuple[str, ...] = (), revision: int = 5) -> PresentGuest:
    """A guest with these interfaces, and with `half` in one of its definitions alone."""
    found = present(state, revision=revision)
    return replace(found, macs_everywhere=frozenset(macs), macs_anywhere=frozenset((*macs, *half)))


CHANGED = Act.CHANGE_INTERFACES
INTERFACE_CASES = {
    "an interface that is missing is attached while the guest runs": (connected(LAN), having(GuestState.RUNNING), CHANGED),
    "and while it is stopped": (connected(LAN, desired=Desired.STOPPED), having(GuestState.STOPPED), CHANGED),
    "and while it is paused": (replace(connected(LAN), pause=Pause.IN_MEMORY), having(GuestState.PAUSED), CHANGED),
    "not while its memory is saved to disk": (replace(connected(LAN), pause=Pause.ON_DISK), having(GuestState.STOPPED), None),
    "one that an agent attached which died is there": (connected(LAN), having(GuestState.RUNNING, LAN.mac), None),
    "one that is in half of the definitions is completed": (connected(LAN), having(GuestState.RUNNING, half=(LAN.mac,)), CHANGED),
    "one that is to go is detached": (connected(detach=(LAN.mac,)), having(GuestState.RUNNING, LAN.mac), CHANGED),
    "also from a half": (connected(detach=(LAN.mac,)), having(GuestState.RUNNING, half=(LAN.mac,)), CHANGED),
    "one that is gone is not": (connected(detach=(LAN.mac,)), having(GuestState.RUNNING), None),
    "one that no order names is left": (connected(LAN), having(GuestState.RUNNING, LAN.mac, OUT.mac), None),
    "the record is amended first": (
        orders.amended(connected(LAN), revision=9, held=5),
        having(GuestState.RUNNING),
        Act.AMEND,
    ),
    "a guest of another claim is left": (connected(LAN, desired=Desired.STOPPED), having(GuestState.STOPPED, revision=4), None),
    "a guest that is to be stopped is stopped first": (connected(LAN, desired=Desired.STOPPED), having(GuestState.RUNNING), Act.SHUT_DOWN),
}


@pytest.mark.parametrize(("wanted", "shown", "act"), INTERFACE_CASES.values(), ids=INTERFACE_CASES)
def test_interfaces(wanted: GuestOrder, shown: PresentGuest, act: Act | None) -> None:
    assert [task.act for task in reconcile(ordered(wanted), (shown,), booted(), NOW)] == ([] if act is None else [act])


guests = st.sampled_from(["a", "b", "c"])
claims = st.integers(1, 2).map(_claim)
order_sets = st.lists(
    st.builds(
        orders.order,
        guest=guests,
        claim=claims,
        revision=st.integers(0, 3),
        held=st.integers(0, 3),
        desired=st.sampled_from(Desired),
        boot=st.integers(1, 3),
        hard=st.booleans(),
        rebuild=st.integers(0, 3),
        ports=st.sampled_from([(), (LAN,), (LAN, OUT)]),
        detach=st.sampled_from([(), (WAN.mac,)]),
    ).map(lambda entry: replace(entry, rebuild=min(entry.rebuild, entry.boot))),
    unique_by=lambda entry: entry.guest,
).map(lambda entries: ordered(*entries))
present_sets = st.lists(
    st.builds(
        lambda half, **parts: PresentGuest(macs_anywhere=parts["macs_everywhere"] | half, **parts),
        st.frozensets(st.sampled_from(MACS)),
        guest=guests,
        state=st.sampled_from(GuestState),
        revision=st.integers(0, 3),
        claim=st.none() | claims,
        macs_everywhere=st.frozensets(st.sampled_from(MACS)),
    ),
    unique_by=lambda entry: entry.guest,
).map(tuple)
memories = st.builds(
    lambda stones, boots: Memory(
        booted=tuple(sorted(boots, key=lambda entry: entry.guest)), tombstones=tuple(sorted(stones, key=lambda stone: stone.guest))
    ),
    st.lists(
        st.builds(Tombstone, guest=guests, revision=st.integers(0, 3), claim=st.none() | claims),
        unique_by=lambda entry: (entry.guest, entry.claim),
    ),
    st.lists(
        st.builds(
            LastBoot, guest=guests, boot=st.integers(1, 3), host_boot=st.sampled_from([NOW, "before"]), failure=st.sampled_from(["", "no"])
        ),
        unique_by=lambda entry: entry.guest,
    ),
)


@given(order_sets, present_sets, memories)
def test_no_guest_gets_two_actions_and_no_stranger_is_touched(wanted: Orders, shown: tuple[PresentGuest, ...], memory: Memory) -> None:
    tasks = reconcile(wanted, shown, memory, NOW)
    assert len({task.guest for task in tasks}) == len(tasks)
    named = {entry.guest for entry in wanted.orders}
    assert {task.guest for task in tasks} <= named


@given(order_sets, present_sets, memories)
def test_nothing_but_a_users_delete_removes_a_guest_with_its_disk(wanted: Orders, shown: tuple[PresentGuest, ...], memory: Memory) -> None:
    unwanted = {entry.guest for entry in wanted.orders if entry.desired is Desired.ABSENT}
    for task in reconcile(wanted, shown, memory, NOW):
        assert task.act not in (Act.REMOVE, Act.CONFIRM_ABSENT) or task.guest in unwanted


@given(order_sets, present_sets, memories)
def test_performing_every_action_leads_to_rest(wanted: Orders, shown: tuple[PresentGuest, ...], memory: Memory) -> None:
    state = {guest.guest: guest for guest in shown}
    for _ in range(6):
        for task in reconcile(wanted, tuple(state.values()), memory, NOW):
            if task.act in (Act.START, Act.RESTART, Act.FINISH, Act.REBOOT):
                state[task.guest] = replace(_follow(task.order, state.get(task.guest)), state=GuestState.RUNNING)
                memory = remember_boot(memory, LastBoot(guest=task.guest, boot=_boot(task.order), host_boot=NOW))
            elif task.act is Act.REBUILD:
                assert isinstance(task.order, GuestOrder)
                runs = task.order.desired is Desired.RUNNING
                state[task.guest] = replace(_follow(task.order, None), state=GuestState.RUNNING if runs else GuestState.STOPPED)
                memory = remember_boot(memory, LastBoot(guest=task.guest, boot=_boot(task.order), host_boot=NOW))
            elif task.act in (Act.STOP, Act.SHUT_DOWN):
                state[task.guest] = replace(state[task.guest], state=GuestState.STOPPED)
            elif task.act is Act.AMEND:
                state[task.guest] = replace(_follow(task.order, state[task.guest]), state=state[task.guest].state)
            elif task.act is Act.CHANGE_INTERFACES:
                state[task.guest] = _with_interfaces(task.order, state[task.guest])
            elif task.act in (Act.REMOVE, Act.UNDEFINE):
                state.pop(task.guest)
            elif task.act is Act.CONFIRM_ABSENT:
                memory = remember_absence(memory, task.tombstone)
    rest = {task.act for task in reconcile(wanted, tuple(state.values()), memory, NOW)}
    assert rest <= {Act.CONFIRM_ABSENT, Act.REFUSE_STALE}
    for entry in wanted.orders:
        guest = state.get(entry.guest)
        if guest is not None and guest.claim == entry.claim.id and guest.state is GuestState.RUNNING and entry.desired is Desired.RUNNING:
            if not any(is_over(stone, entry.guest, entry.claim.id, entry.claim.held) for stone in memory.tombstones):
                assert guest.macs_everywhere >= {port.mac for port in entry.ports} and guest.macs_anywhere.isdisjoint(entry.detach)


def _follow(order: GuestOrder | Tombstone, before: PresentGuest | None) -> PresentGuest:
    assert isinstance(order, GuestOrder)
    made = PresentGuest(guest=order.guest, state=GuestState.STOPPED, revision=order.claim.revision, claim=order.claim.id)
    if before is None:
        macs = frozenset(port.mac for port in order.ports)
        return replace(made, macs_everywhere=macs, macs_anywhere=macs)
    return replace(made, macs_everywhere=before.macs_everywhere, macs_anywhere=before.macs_anywhere)


def _with_interfaces(order: GuestOrder | Tombstone, guest: PresentGuest) -> PresentGuest:
    assert isinstance(order, GuestOrder)
    wanted, unwanted = frozenset(port.mac for port in order.ports), frozenset(order.detach)
    return replace(guest, macs_everywhere=guest.macs_everywhere - unwanted | wanted, macs_anywhere=guest.macs_anywhere - unwanted | wanted)


def _boot(order: GuestOrder | Tombstone) -> int:
    assert isinstance(order, GuestOrder)
    return order.boot


@given(memories, st.integers(0, 9), st.none() | claims)
def test_a_tombstone_never_goes_back(memory: Memory, revision: int, claim: ClaimId | None) -> None:
    stone = Tombstone(guest="a", revision=revision, claim=claim)
    before = {(one.guest, one.claim): one.revision for one in memory.tombstones}
    after = {(one.guest, one.claim): one.revision for one in remember_absence(memory, stone).tombstones}
    assert after == before | {("a", claim): max(revision, before.get(("a", claim), revision))}


def _moves(guest: str, before: str, after: str) -> tuple[GuestOrder, PresentGuest]:
    """A running guest whose record has one pCPU of its own, and whose claim has another one by now."""
    wanted = orders.order(guest, claim=guest, revision=9, held=5, fit=fitted(after))
    here = PresentGuest(guest=guest, state=GuestState.RUNNING, revision=5, claim=ClaimId(guest), taken=fitted(before).taken)
    return wanted, here


def test_a_guest_waits_for_another_one_to_leave_the_pcpus_of_its_new_place() -> None:
    (first, there), (second, here) = _moves("a", "3", "4"), _moves("b", "2", "3")
    known = Memory(booted=tuple(LastBoot(guest=name, boot=1, host_boot=NOW) for name in "ab"))
    tasks = reconcile(ordered(first, second), (there, here), known, NOW)
    assert [(task.act, task.guest) for task in tasks] == [(Act.AMEND, "a")]
    moved = replace(there, revision=9, taken=fitted("4").taken)
    tasks = reconcile(ordered(first, second), (moved, here), known, NOW)
    assert [(task.act, task.guest) for task in tasks] == [(Act.AMEND, "b")]


def test_a_guest_does_not_wait_for_one_that_is_to_stay_or_has_no_order() -> None:
    (wanted, here), stays = _moves("b", "2", "3"), replace(_moves("a", "3", "3")[1], revision=9)
    known = Memory(booted=(LastBoot(guest="a", boot=1, host_boot=NOW), LastBoot(guest="b", boot=1, host_boot=NOW)))
    for others in ((), (_moves("a", "3", "3")[0],)):
        tasks = reconcile(ordered(*others, wanted), (stays, here), known, NOW)
        assert [(task.act, task.guest) for task in tasks] == [(Act.AMEND, "b")], "the host says who has it"
