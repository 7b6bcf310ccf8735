"""Bound the number of connections, and decide which one is dropped for a new one. `listener` and `protocol` handle the sockets.

| who | counted | at most |
|---|---|---|
| a stranger, who is not authenticated yet | by its address, or its /64 of IPv6 | `per_address`; all of them `strangers` |
| an account | by its name | `per_account` |
| an agent | by its host | `per_agent` |
| everybody | together | `total` |

At a bound, a member of the same group is dropped for the newcomer: among strangers the one that came first, whatever it is doing; of an
account or an agent the one that has waited longest, but never one whose request is being answered. So a crowd keeps nobody out: a client
that shows a password or a token soon after connecting is no longer a stranger. `strangers` is below `total`; only accounts and agents can
fill the rest.

A trusted proxy's connection carries many clients, so it counts only in `total`. Each request that it passes on is a separate member, which
is never dropped: if a client has too many of them, the newcomer is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pinfold.core.settings import ConnectionLimits

MEMBER: Final = "pinfold.member"
CONNECTIONS: Final = "pinfold.connections"
"""The key in `scope["state"]` for the `Member` whose request it is, and the `Connections` that counts it."""


class Kind(Enum):
    """What the members of a group have in common."""

    ADDRESS = "address"
    ACCOUNT = "account"
    AGENT = "agent"
    PROXY = "proxy"


Group = tuple[Kind, str]
_PROXY: Final[Group] = (Kind.PROXY, "")


@dataclass(eq=False, slots=True)
class Member:
    """One connection, or one request that a trusted proxy passed on. `drop` ends it; only `Connections` changes the other fields."""

    group: Group
    drop: Callable[[], object] = lambda: None
    proxied: bool = False
    """Whether it is a request of a proxy's connection, which has been counted in `total` already."""
    entered: bool = field(default=False, init=False)


def stranger(address: str, drop: Callable[[], object] = lambda: None, *, proxied: bool = False) -> Member:
    """A member that is not authenticated yet."""
    return Member((Kind.ADDRESS, address), drop, proxied)


def proxy(drop: Callable[[], object] = lambda: None) -> Member:
    """The connection of a trusted proxy."""
    return Member(_PROXY, drop)


class Connections:
    """All connections. For one thread. A new member waits; call `works` and `waits` when its request begins and ends."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._total = self._strangers = 0
        self._counts: dict[Group, int] = {}
        # Dictionaries keep insertion order: the first one has waited longest.
        self._waiting: dict[Group, dict[Member, None]] = {}
        self.gave_way = self.refused = 0

    @property
    def count(self) -> int:
        """How many connections there are."""
        return self._total

    @property
    def strangers(self) -> int:
        """How many connections are not authenticated."""
        return self._strangers

    def enter(self, member: Member) -> bool:
        """Whether a new member is let in. Others may be dropped for it."""
        group = member.group
        room = self._room_in(group) and (group[0] is not Kind.ADDRESS or self._room_for_a_stranger())
        if not room or not (member.proxied or self._room_in_total()):
            self.refused += 1
            return False
        member.entered = True
        self._total += not member.proxied
        self._join(member, group)
        self.waits(member)
        return True

    def leave(self, member: Member) -> None:
        """Remove a member; one that has left already is no error."""
        if member.entered:
            member.entered = False
            self._total -= not member.proxied
            self._part(member)

    def works(self, member: Member) -> None:
        """A request of the member is being answered: the member is not dropped, unless it is a stranger."""
        if not self._has_fixed_place(member):
            self._take_out(member)

    def _take_out(self, member: Member) -> None:
        waiting = self._waiting.get(member.group)
        if waiting is not None:
            waiting.pop(member, None)

    def waits(self, member: Member) -> None:
        """Nothing of the member is being answered, or it does not read its response: it waits from now on."""
        if member.entered and not self._has_fixed_place(member):
            waiting = self._waiting.setdefault(member.group, {})
            waiting.pop(member, None)
            waiting[member] = None

    def _has_fixed_place(self, member: Member) -> bool:
        """Whether it is a stranger's connection, which counts as waiting from its beginning."""
        return member.group[0] is Kind.ADDRESS and not member.proxied and member in self._waiting.get(member.group, {})

    def vouch(self, member: Member, kind: Kind, name: str) -> bool:
        """Whether a member whose request is authenticated may go on as that account or agent. Others of the same one may be dropped.

        An admitted member moves to the group of the account or agent; a refused one stays in its group.
        """
        group = (kind, name)
        if member.group == group or not member.entered or member.group is _PROXY:
            return True
        if not self._room_in(group):
            self.refused += 1
            return False
        self._part(member)
        self._join(member, group)
        return True

    def make_room(self) -> bool:
        """Drop a waiting member, a stranger first, when the system can accept no more connections; False if none waits."""
        return self._drop_first(self._largest_waiting(Kind.ADDRESS)) or self._drop_first(self._largest_waiting())

    def _room_in(self, group: Group) -> bool:
        limit = {
            Kind.ADDRESS: self._limits.per_address,
            Kind.ACCOUNT: self._limits.per_account,
            Kind.AGENT: self._limits.per_agent,
            Kind.PROXY: self._limits.total,
        }[group[0]]
        return self._counts.get(group, 0) < limit or self._drop_first(group)

    def _room_for_a_stranger(self) -> bool:
        return self._strangers < self._limits.strangers or self._drop_first(self._largest_waiting(Kind.ADDRESS))

    def _room_in_total(self) -> bool:
        return self._total < self._limits.total or self.make_room()

    def _largest_waiting(self, kind: Kind | None = None) -> Group | None:
        """The group with the most waiting members, so that an address with many connections loses one before addresses with one each."""
        found = (group for group, waiting in self._waiting.items() if waiting and (kind is None or group[0] is kind))
        return max(found, key=lambda group: len(self._waiting[group]), default=None)

    def _drop_first(self, group: Group | None) -> bool:
        waiting = self._waiting.get(group) if group is not None else None
        first = next(iter(waiting), None) if waiting else None
        if first is None:
            return False
        self.gave_way += 1
        self.leave(first)
        first.drop()
        return True

    def _join(self, member: Member, group: Group) -> None:
        member.group = group
        self._counts[group] = self._counts.get(group, 0) + 1
        self._strangers += group[0] is Kind.ADDRESS

    def _part(self, member: Member) -> None:
        self._take_out(member)
        group = member.group
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]
            self._waiting.pop(group, None)
        self._strangers -= group[0] is Kind.ADDRESS
