"""Which connections are let in, and which are dropped for them."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.api.connections import Connections, Kind, Member, proxy, stranger
from pinfold.core.settings import ConnectionLimits

LIMITS = ConnectionLimits(total=10, strangers=6, per_address=3, per_account=2, per_agent=2)


class Crowd:
    """Members by name, and which of them were dropped, in order."""

    def __init__(self, limits: ConnectionLimits = LIMITS) -> None:
        self.connections = Connections(limits)
        self.dropped: list[str] = []
        self.members: dict[str, Member] = {}

    def enter(self, name: str, address: str = "a", *, proxied: bool = False) -> bool:
        member = stranger(address, lambda: self.dropped.append(name), proxied=proxied)
        self.members[name] = member
        return self.connections.enter(member)

    def vouch(self, name: str, kind: Kind, group: str) -> bool:
        return self.connections.vouch(self.members[name], kind, group)

    def checks(self, name: str) -> bool:
        return self.connections.checks(self.members[name])

    def checked(self, *names: str) -> None:
        for name in names:
            self.connections.checked(self.members[name])

    def works(self, *names: str) -> None:
        for name in names:
            self.connections.works(self.members[name])

    def waits(self, *names: str) -> None:
        for name in names:
            self.connections.waits(self.members[name])


def test_the_stranger_who_came_first_gives_way_to_a_newcomer_of_its_address_whatever_it_does() -> None:
    crowd = Crowd()
    assert [crowd.enter(name) for name in "123"] == [True] * 3
    crowd.works("1")
    crowd.waits("1")
    crowd.works("2")
    assert crowd.enter("4") and crowd.enter("5") and crowd.enter("6")
    assert crowd.dropped == ["1", "2", "3"]
    assert crowd.connections.count == crowd.connections.strangers == 3


def test_a_stranger_whose_credentials_are_being_checked_gives_way_to_nobody_of_its_address() -> None:
    crowd = Crowd(ConnectionLimits(total=10, strangers=8, per_address=4, per_account=2, per_agent=2))
    for name in "1234":
        crowd.enter(name)
    assert crowd.checks("1") and crowd.checks("2")
    crowd.waits("1")
    assert [crowd.enter(name) for name in "56789"] == [True] * 5
    assert crowd.dropped == ["3", "4", "5", "6", "7"]
    assert crowd.vouch("1", Kind.AGENT, "c1")
    crowd.checked("1")
    assert crowd.connections.checking == 1 and crowd.members["1"].group == (Kind.AGENT, "c1")


def test_who_was_checked_and_is_a_stranger_still_gives_way_first() -> None:
    crowd = Crowd(ConnectionLimits(total=10, strangers=8, per_address=4, per_account=2, per_agent=2))
    for name in "1234":
        crowd.enter(name)
    assert crowd.checks("3")
    crowd.checked("3")
    assert crowd.enter("5") and crowd.enter("6")
    assert crowd.dropped == ["3", "1"]


def test_checks_take_half_of_the_places_of_an_address_so_that_newcomers_always_have_the_others() -> None:
    crowd = Crowd(ConnectionLimits(total=100, strangers=32, per_address=8, per_account=2, per_agent=2))
    for name in "12345678":
        crowd.enter(name)
    assert [crowd.checks(name) for name in "12345"] == [True] * 4 + [False]
    assert crowd.enter("9") and crowd.dropped == ["5"]
    assert crowd.enter("b", "other") and crowd.checks("b")
    crowd.checked("1")
    assert crowd.checks("6") and crowd.dropped == ["5"]


def test_where_too_many_are_checked_the_address_with_the_most_loses_its_last_one_to_one_with_fewer() -> None:
    crowd = Crowd(ConnectionLimits(total=100, strangers=10, per_address=8, per_account=2, per_agent=2))
    for name in ("a1", "a2", "a3", "b1", "b2", "c1", "d1"):
        crowd.enter(name, name[0])
    assert all(crowd.checks(name) for name in ("a1", "a2", "a3", "b1", "b2"))
    assert crowd.checks("c1") and crowd.dropped == ["a3"]
    crowd.enter("b3", "b")
    assert not crowd.checks("b3"), "its address would have more than those of others"
    assert crowd.checks("d1") and crowd.dropped == ["a3", "a2"]
    crowd.enter("a4", "a")
    assert not crowd.checks("a4"), "no address has two more"
    assert crowd.dropped == ["a3", "a2"]


def test_a_request_of_a_proxy_is_checked_whenever_it_was_let_in() -> None:
    crowd = Crowd(ConnectionLimits(total=10, strangers=8, per_address=4, per_account=2, per_agent=2))
    for name in "1234":
        crowd.enter(name, proxied=True)
        crowd.works(name)
    assert all(crowd.checks(name) for name in "1234") and crowd.connections.checking == 0
    crowd.checked(*"1234")
    assert not crowd.enter("5", proxied=True) and crowd.dropped == []


@pytest.mark.parametrize("rounds", [1, 3, 40], ids=["fast checks", "checks of a few rounds", "slow checks"])
@pytest.mark.parametrize("silent", [0, 4], ids=["alone", "beside a crowd that says nothing"])
def test_many_agents_of_one_address_all_get_in_and_none_is_checked_twice(rounds: int, silent: int) -> None:
    """In each round some connect, who speak two rounds later, and a check takes `rounds`. Who is dropped or refused comes again."""
    crowd, at_once, agents = Crowd(ConnectionLimits(total=5000, strangers=64, per_address=32)), 4, 300
    away, asked = deque(str(number) for number in range(agents)), Counter[str]()
    speaks: deque[list[tuple[str, Member]]] = deque([[], []])
    ends: deque[list[str]] = deque([[] for _ in range(rounds)])
    inside, turn = 0, 0
    while inside < agents:
        turn += 1
        assert turn < 100 * agents
        for number in range(silent):
            assert crowd.enter(f"silent {turn} {number}")
        newcomers = [away.popleft() for _ in range(min(at_once, len(away)))]
        assert all(crowd.enter(name) for name in newcomers)
        speaks.append([(name, crowd.members[name]) for name in newcomers])
        begun = []
        for name, member in speaks.popleft():
            if not member.entered:
                continue
            if crowd.connections.checks(member):
                asked[name] += 1
                begun.append(name)
            else:
                crowd.connections.leave(member)
                away.append(name)
        ends.append(begun)
        for name in ends.popleft():
            assert crowd.vouch(name, Kind.AGENT, f"host {name}")
            crowd.checked(name)
            inside += 1
        away.extend(name for name in crowd.dropped if not name.startswith("silent"))
        crowd.dropped.clear()
    assert len(asked) == agents and set(asked.values()) == {1}


def test_who_has_shown_who_it_is_gives_way_only_while_it_waits() -> None:
    crowd = Crowd(ConnectionLimits(total=3, strangers=2, per_address=2, per_account=3, per_agent=2))
    for name in "123":
        crowd.enter(name)
        assert crowd.vouch(name, Kind.ACCOUNT, "alice")
    assert not crowd.enter("4")
    assert crowd.dropped == []
    crowd.waits("2", "3")
    crowd.works("2")
    assert crowd.enter("5")
    assert crowd.dropped == ["3"]


def test_of_all_strangers_the_address_with_the_most_that_wait_gives_way() -> None:
    crowd = Crowd()
    for name in ("a1", "b1", "b2", "b3", "c1", "c2"):
        crowd.enter(name, name[0])
    assert crowd.enter("d1", "d")
    assert crowd.dropped == ["b1"]


def test_accounts_and_agents_have_room_that_strangers_cannot_fill() -> None:
    crowd = Crowd()
    for number in range(4):
        assert crowd.enter(f"agent{number}", f"host{number}")
        assert crowd.vouch(f"agent{number}", Kind.AGENT, f"host{number}")
    for number in range(20):
        assert crowd.enter(f"stranger{number}", f"net{number}")
    assert crowd.connections.count == LIMITS.total
    assert not any(name.startswith("agent") for name in crowd.dropped)
    assert crowd.enter("agent4", "host4")
    assert crowd.vouch("agent4", Kind.AGENT, "host4")
    assert not any(name.startswith("agent") for name in crowd.dropped)


def test_an_agent_beyond_its_bound_ends_its_connection_that_has_waited_longest() -> None:
    crowd = Crowd()
    for name in ("old", "older", "new"):
        crowd.enter(name)
        crowd.works(name)
    assert crowd.vouch("old", Kind.AGENT, "c1") and crowd.vouch("older", Kind.AGENT, "c1")
    assert not crowd.vouch("new", Kind.AGENT, "c1")
    assert crowd.members["new"].group == (Kind.ADDRESS, "a")
    crowd.waits("older")
    assert crowd.vouch("new", Kind.AGENT, "c1")
    assert crowd.dropped == ["older"]


def test_a_connection_that_shows_another_name_counts_as_that() -> None:
    crowd = Crowd()
    crowd.enter("1")
    assert crowd.vouch("1", Kind.ACCOUNT, "alice") and crowd.connections.strangers == 0
    assert crowd.vouch("1", Kind.ACCOUNT, "bob") and crowd.vouch("1", Kind.ACCOUNT, "bob")
    for name in ("2", "3"):
        crowd.enter(name)
        assert crowd.vouch(name, Kind.ACCOUNT, "alice")
    assert crowd.dropped == []


def test_the_requests_of_a_proxy_count_by_the_address_that_it_passes_on() -> None:
    crowd = Crowd()
    connection = proxy()
    assert crowd.connections.enter(connection)
    for name in "123":
        assert crowd.enter(name, proxied=True)
    crowd.works("1", "2", "3")
    assert not crowd.enter("4", proxied=True)
    assert crowd.enter("5", "b", proxied=True)
    assert crowd.connections.count == 1
    assert crowd.connections.vouch(connection, Kind.ACCOUNT, "alice")
    assert connection.group[0] is Kind.PROXY


def test_one_that_waits_gives_way_where_the_system_can_take_no_more() -> None:
    crowd = Crowd()
    assert not crowd.connections.make_room()
    crowd.enter("agent")
    crowd.vouch("agent", Kind.AGENT, "c1")
    crowd.enter("stranger")
    assert crowd.connections.make_room() and crowd.dropped == ["stranger"]
    crowd.waits("agent")
    assert crowd.connections.make_room() and crowd.dropped == ["stranger", "agent"]
    assert crowd.connections.count == 0


def test_leaving_twice_is_no_error() -> None:
    crowd = Crowd()
    crowd.enter("1")
    for _ in range(2):
        crowd.connections.leave(crowd.members["1"])
    crowd.waits("1")
    crowd.works("1")
    assert crowd.vouch("1", Kind.ACCOUNT, "alice")
    assert crowd.connections.count == 0


STEPS = st.tuples(
    st.sampled_from(["enter", "leave", "works", "waits", "checks", "checked", "account", "agent"]),
    st.integers(0, 14),
    st.sampled_from("abcd"),
)


@given(st.lists(STEPS, max_size=120))
def test_no_bound_is_ever_exceeded(steps: list[tuple[str, int, str]]) -> None:
    crowd = Crowd()
    inside: set[str] = set()
    checking: set[str] = set()
    for step, number, group in steps:
        name = str(number)
        if step == "enter" and name not in inside and crowd.enter(name, group):
            inside.add(name)
        elif name in crowd.members and step == "leave":
            crowd.connections.leave(crowd.members[name])
            inside.discard(name)
        elif name in inside and step in ("works", "waits", "checked"):
            getattr(crowd, step)(name)
        elif name in inside and step == "checks":
            under_check = {other for other in inside if crowd.members[other].checked}
            larger = [other for other in under_check if crowd.members[other].group != crowd.members[name].group]
            crowd.checks(name)
            assert set(crowd.dropped) <= set(larger), "a check ends none of its own address"
        elif name in inside and step in ("account", "agent"):
            crowd.vouch(name, Kind(step), group)
        if step != "checks":
            assert not any(crowd.members[other].checked or other in checking for other in crowd.dropped)
        inside -= set(crowd.dropped)
        checking = {other for other in inside if crowd.members[other].checked}
        assert crowd.connections.checking == len(checking) <= LIMITS.strangers // 2
        assert all(crowd.members[other].group[0] is Kind.ADDRESS for other in checking)
        assert all(count <= LIMITS.per_address // 2 for count in Counter(crowd.members[other].group for other in checking).values())
        crowd.dropped.clear()
        groups = [crowd.members[name].group for name in inside]
        assert crowd.connections.count == len(groups) <= LIMITS.total
        assert crowd.connections.strangers == sum(kind is Kind.ADDRESS for kind, _ in groups) <= LIMITS.strangers
        most = {Kind.ADDRESS: LIMITS.per_address, Kind.ACCOUNT: LIMITS.per_account, Kind.AGENT: LIMITS.per_agent}
        for found in set(groups):
            assert groups.count(found) <= most[found[0]]


@pytest.mark.parametrize("limits", [ConnectionLimits()])
def test_what_strangers_may_fill_is_less_than_everything(limits: ConnectionLimits) -> None:
    assert limits.strangers < limits.total


@pytest.mark.parametrize(("per_address", "at_once"), [(4, 1), (8, 1), (128, 12), (100_000, 16)])
def test_fewer_than_half_of_the_places_of_an_address_are_taken_while_a_newcomer_shows_who_it_is(per_address: int, at_once: int) -> None:
    assert Connections(ConnectionLimits(per_address=per_address)).at_once == at_once
