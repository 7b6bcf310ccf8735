"""What the agent does next, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.agent.reconcile import (
    Act,
    Booted,
    Memory,
    Order,
    Present,
    reconcile,
    remember_absence,
    remember_boot,
)
from pinfold.drivers.port import GuestState
from pinfold.store.model import Desired, Tombstone

NOW = "host-boot-2"


def order(desired: Desired, *, revision: int = 5, boot: int = 1, guest: str = "g") -> Order:
    return Order(guest=guest, claim="c", revision=revision, desired=desired, boot=boot)


def present(state: GuestState, *, revision: int = 5, guest: str = "g") -> Present:
    return Present(guest=guest, state=state, revision=revision)


def booted(boot: int = 1, host_boot: str = NOW) -> Memory:
    return Memory(booted=(Booted(guest="g", boot=boot, host_boot=host_boot),))


BURIED = Memory(tombstones=(Tombstone(guest="g", revision=5),))

CASES = {
    "a guest that is not there is started": (order(Desired.RUNNING), None, Memory(), Act.START),
    "a running guest is left alone": (order(Desired.RUNNING), present(GuestState.RUNNING), booted(), None),
    "a running guest that this agent forgot is left alone": (order(Desired.RUNNING), present(GuestState.RUNNING), Memory(), None),
    "a guest left paused by a crash is finished": (order(Desired.RUNNING), present(GuestState.PAUSED), Memory(), Act.FINISH),
    "a guest of another claim is removed first": (order(Desired.RUNNING), present(GuestState.PAUSED, revision=4), Memory(), Act.REMOVE),
    "a guest that powered itself off stays off": (order(Desired.RUNNING), present(GuestState.STOPPED), booted(), None),
    "a guest is started again when asked": (order(Desired.RUNNING, boot=2), present(GuestState.STOPPED), booted(), Act.RESTART),
    "a running guest is rebooted when asked": (order(Desired.RUNNING, boot=2), present(GuestState.RUNNING), booted(), Act.REBOOT),
    "a host's reboot starts its guests again": (order(Desired.RUNNING), present(GuestState.STOPPED), booted(1, "host-boot-1"), Act.RESTART),
    "a defined guest that never ran is started": (order(Desired.RUNNING), present(GuestState.STOPPED), Memory(), Act.RESTART),
    "a running guest is stopped": (order(Desired.STOPPED), present(GuestState.RUNNING), booted(), Act.STOP),
    "a stopped guest stays stopped over a host's reboot": (order(Desired.STOPPED), present(GuestState.STOPPED), booted(1, "x"), None),
    "a stopped order starts nothing": (order(Desired.STOPPED), None, Memory(), None),
    "a guest to be absent is removed": (order(Desired.ABSENT), present(GuestState.STOPPED), booted(), Act.REMOVE),
    "a guest that is gone is confirmed gone": (order(Desired.ABSENT), None, Memory(), Act.CONFIRM_ABSENT),
    "a late start order meets its tombstone": (order(Desired.RUNNING), None, BURIED, Act.REFUSE_STALE),
    "a newer claim of a buried guest starts": (order(Desired.RUNNING, revision=6), None, BURIED, Act.START),
    "an absence is confirmed again for a buried guest": (order(Desired.ABSENT), None, BURIED, Act.CONFIRM_ABSENT),
}


@pytest.mark.parametrize(("wanted", "shown", "memory", "act"), CASES.values(), ids=CASES.keys())
def test_one_guest(wanted: Order, shown: Present | None, memory: Memory, act: Act | None) -> None:
    actions = reconcile((wanted,), (shown,) if shown else (), memory, NOW)
    assert [action.act for action in actions] == ([act] if act else [])


def test_a_guest_without_an_order_is_foreign_and_only_reported() -> None:
    assert [action.act for action in reconcile((), (present(GuestState.RUNNING),), booted(), NOW)] == [Act.REPORT_FOREIGN]


def test_removals_come_before_starts() -> None:
    orders = (order(Desired.RUNNING, guest="a"), order(Desired.ABSENT, guest="z"), order(Desired.STOPPED, guest="y"))
    shown = (present(GuestState.RUNNING, guest="z"), present(GuestState.RUNNING, guest="y"))
    assert [action.act for action in reconcile(orders, shown, Memory(), NOW)] == [Act.REMOVE, Act.STOP, Act.START]


guests = st.sampled_from(["a", "b", "c"])
order_sets = st.lists(
    st.builds(
        Order,
        guest=guests,
        claim=st.just("c"),
        revision=st.integers(0, 3),
        desired=st.sampled_from(Desired),
        boot=st.integers(1, 3),
    ),
    unique_by=lambda entry: entry.guest,
).map(tuple)
present_sets = st.lists(
    st.builds(Present, guest=guests, state=st.sampled_from(GuestState), revision=st.integers(0, 3)), unique_by=lambda entry: entry.guest
).map(tuple)
memories = st.lists(st.builds(Tombstone, guest=guests, revision=st.integers(0, 3)), unique_by=lambda entry: entry.guest).map(
    lambda stones: Memory(tombstones=tuple(sorted(stones, key=lambda stone: stone.guest)))
)


@given(order_sets, present_sets, memories)
def test_no_guest_gets_two_actions_and_no_stranger_is_touched(
    orders: tuple[Order, ...], shown: tuple[Present, ...], memory: Memory
) -> None:
    actions = reconcile(orders, shown, memory, NOW)
    assert len({action.guest for action in actions}) == len(actions)
    named = {entry.guest for entry in orders}
    assert all(action.act is Act.REPORT_FOREIGN for action in actions if action.guest not in named)


@given(order_sets, present_sets, memories)
def test_performing_every_action_leads_to_rest(orders: tuple[Order, ...], shown: tuple[Present, ...], memory: Memory) -> None:
    state = {guest.guest: guest for guest in shown}
    for _ in range(6):
        for action in reconcile(orders, tuple(state.values()), memory, NOW):
            wanted = action.order
            if action.act is Act.REPORT_FOREIGN or wanted is None:
                continue
            if action.act in (Act.START, Act.RESTART, Act.FINISH, Act.REBOOT):
                state[action.guest] = Present(guest=action.guest, state=GuestState.RUNNING, revision=wanted.revision)
                memory = remember_boot(memory, Booted(guest=action.guest, boot=wanted.boot, host_boot=NOW))
            elif action.act is Act.STOP:
                state[action.guest] = Present(guest=action.guest, state=GuestState.STOPPED, revision=state[action.guest].revision)
            elif action.act is Act.REMOVE:
                state.pop(action.guest)
            elif action.act is Act.CONFIRM_ABSENT:
                memory = remember_absence(memory, Tombstone(guest=action.guest, revision=wanted.revision))
    rest = {action.act for action in reconcile(orders, tuple(state.values()), memory, NOW)}
    assert rest <= {Act.CONFIRM_ABSENT, Act.REFUSE_STALE, Act.REPORT_FOREIGN}


@given(memories, st.integers(0, 9))
def test_a_tombstone_never_goes_back(memory: Memory, revision: int) -> None:
    before = {stone.guest: stone.revision for stone in memory.tombstones}
    after = {stone.guest: stone.revision for stone in remember_absence(memory, Tombstone(guest="a", revision=revision)).tombstones}
    assert after["a"] == max(revision, before.get("a", revision))
    assert all(after[guest] == kept for guest, kept in before.items() if guest != "a")
