"""Which connections are let in, and which are dropped for them."""

from __future__ import annotations

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


STEPS = st.tuples(st.sampled_from(["enter", "leave", "works", "waits", "account", "agent"]), st.integers(0, 14), st.sampled_from("abcd"))


@given(st.lists(STEPS, max_size=120))
def test_no_bound_is_ever_exceeded(steps: list[tuple[str, int, str]]) -> None:
    crowd = Crowd()
    inside: set[str] = set()
    for step, number, group in steps:
        name = str(number)
        if step == "enter" and name not in inside and crowd.enter(name, group):
            inside.add(name)
        elif name in crowd.members and step == "leave":
            crowd.connections.leave(crowd.members[name])
            inside.discard(name)
        elif name in inside and step in ("works", "waits"):
            getattr(crowd, step)(name)
        elif name in inside and step in ("account", "agent"):
            crowd.vouch(name, Kind(step), group)
        inside -= set(crowd.dropped)
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
