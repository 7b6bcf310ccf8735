"""Bound the number of connections, and decide which one is dropped for a new one. `listener` and `protocol` handle the sockets.

| who | counted | at most |
|---|---|---|
| a stranger, who is not authenticated yet | by its address, or its /64 of IPv6 | `per_address`; all of them `strangers` |
| a stranger whose credentials are being checked | the same | half of those |
| an account | by its name | `per_account` |
| an agent | by its host | `per_agent` |
| everybody | together | `total` |

At a bound, a member of the same group is dropped for the newcomer: among strangers the one that came first, whatever it is doing, but never
one whose credentials are being checked; of an account or an agent the one that has waited longest, but never one whose request is being
answered. So a crowd keeps nobody out: a client that shows a password or a token soon after connecting is no longer a stranger. `strangers`
is below `total`; only accounts and agents can fill the rest.

A check that has begun is finished. Otherwise a crowd of honest clients, such as the agents of a whole fleet behind one address, would end
each other's checks, and none would get in. Since checks take at most half of the places of an address, a newcomer can always connect, and
has the other half to show who it is. A check beyond the bound of its address is refused. At the bound of all addresses, the address with
most checks loses its last one for an address that has fewer.

A trusted proxy's connection carries many clients, so it counts only in `total`. Each request that it passes on is a separate member, which
is never dropped: if a client has too many of them, the newcomer is refused.
"""

from __future__ import annotations

from collections import OrderedDict
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
_Line = dict[Group, OrderedDict["Member", None]]
"""The members of each group, in the order in which they are dropped."""
_PROXY: Final[Group] = (Kind.PROXY, "")
_TURNS: Final = 5
"""In about so many turns of the loop, a new client shows who it is."""
_MOST_AT_ONCE: Final = 16


@dataclass(eq=False, slots=True)
class Member:
    """One connection, or one request that a trusted proxy passed on. `drop` ends it; only `Connections` changes the other fields."""

    group: Group
    drop: Callable[[], object] = lambda: None
    proxied: bool = False
    """Whether it is a request of a proxy's connection, which has been counted in `total` already."""
    entered: bool = field(default=False, init=False)
    checked: bool = field(default=False, init=False)
    """Whether it is a stranger whose credentials are being checked."""


def stranger(address: str, drop: Callable[[], object] = lambda: None, *, proxied: bool = False) -> Member:
    """A member that is not authenticated yet."""
    return Member((Kind.ADDRESS, address), drop, proxied)


def proxy(drop: Callable[[], object] = lambda: None) -> Member:
    """The connection of a trusted proxy."""
    return Member(_PROXY, drop)


class Connections:
    """All connections. For one thread. A new member waits; call `works` and `waits` when its request begins and ends, and `checks` and
    `checked` around a check of its credentials.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._total = self._strangers = self._checking = 0
        self._counts: dict[Group, int] = {}
        # Strangers apart: they are few, while agents may be ten thousand groups, and the largest group of strangers is looked for often.
        self._waiting_strangers: _Line = {}
        self._waiting_others: _Line = {}
        self._checks: _Line = {}
        self.gave_way = self.refused = 0

    @property
    def at_once(self) -> int:
        """How many connections may be accepted before other work has its turn.

        Fewer than half of `per_address` come in the turns that a new client needs: it would be dropped before its credentials are checked.
        """
        return max(1, min(_MOST_AT_ONCE, self._limits.per_address // (2 * _TURNS)))

    @property
    def count(self) -> int:
        """How many connections there are."""
        return self._total

    @property
    def strangers(self) -> int:
        """How many connections are not authenticated."""
        return self._strangers

    @property
    def checking(self) -> int:
        """Of how many of them the credentials are being checked."""
        return self._checking

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

    def waits(self, member: Member) -> None:
        """Nothing of the member is being answered, or it does not read its response: it waits from now on."""
        if member.entered and not member.checked and not self._has_fixed_place(member):
            waiting = self._waiting(member.group).setdefault(member.group, OrderedDict())
            waiting.pop(member, None)
            waiting[member] = None

    def checks(self, member: Member) -> bool:
        """Whether the member's credentials may be checked now, during which it is not dropped. Call `checked` when that is over.

        Only a stranger can be refused; who has shown who it is, and a request from a proxy, has bounds of its own.
        """
        if not member.entered or member.group[0] is not Kind.ADDRESS or member.proxied or member.checked:
            return True
        if not self._room_for_a_check(member.group):
            self.refused += 1
            return False
        self._take_out(member)
        member.checked = True
        self._checking += 1
        self._checks.setdefault(member.group, OrderedDict())[member] = None
        return True

    def checked(self, member: Member) -> None:
        """The check is over. Who is a stranger still has had its chance: it is the first of its address to be dropped."""
        if member.checked:
            self._end_check(member)
            waiting = self._waiting_strangers.setdefault(member.group, OrderedDict())
            waiting[member] = None
            waiting.move_to_end(member, last=False)

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
        return self._drop_a_stranger() or self._drop_first(self._waiting_others, _largest(self._waiting_others))

    def _waiting(self, group: Group) -> _Line:
        return self._waiting_strangers if group[0] is Kind.ADDRESS else self._waiting_others

    def _take_out(self, member: Member) -> None:
        waiting = self._waiting(member.group).get(member.group)
        if waiting is not None:
            waiting.pop(member, None)

    def _has_fixed_place(self, member: Member) -> bool:
        """Whether it is a stranger's connection, which counts as waiting from its beginning."""
        return member.group[0] is Kind.ADDRESS and not member.proxied and member in self._waiting_strangers.get(member.group, ())

    def _room_in(self, group: Group) -> bool:
        limit = {
            Kind.ADDRESS: self._limits.per_address,
            Kind.ACCOUNT: self._limits.per_account,
            Kind.AGENT: self._limits.per_agent,
            Kind.PROXY: self._limits.total,
        }[group[0]]
        return self._counts.get(group, 0) < limit or self._drop_first(self._waiting(group), group)

    def _room_for_a_stranger(self) -> bool:
        return self._strangers < self._limits.strangers or self._drop_a_stranger()

    def _room_for_a_check(self, group: Group) -> bool:
        mine = len(self._checks.get(group, ()))
        if mine >= self._limits.per_address // 2:
            return False
        if self._checking < self._limits.strangers // 2:
            return True
        largest = _largest(self._checks)
        if largest is None or len(self._checks[largest]) <= mine + 1:
            return False
        self._drop(next(reversed(self._checks[largest])))
        return True

    def _room_in_total(self) -> bool:
        return self._total < self._limits.total or self.make_room()

    def _drop_a_stranger(self) -> bool:
        """Drop one of the address with the most waiting members, so that such an address loses one before addresses with one each."""
        return self._drop_first(self._waiting_strangers, _largest(self._waiting_strangers))

    def _drop_first(self, line: _Line, group: Group | None) -> bool:
        waiting = line.get(group) if group is not None else None
        first = next(iter(waiting), None) if waiting else None
        if first is None:
            return False
        self._drop(first)
        return True

    def _drop(self, member: Member) -> None:
        self.gave_way += 1
        self.leave(member)
        member.drop()

    def _join(self, member: Member, group: Group) -> None:
        member.group = group
        self._counts[group] = self._counts.get(group, 0) + 1
        self._strangers += group[0] is Kind.ADDRESS

    def _part(self, member: Member) -> None:
        self._take_out(member)
        if member.checked:
            self._end_check(member)
        group = member.group
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]
            self._waiting(group).pop(group, None)
        self._strangers -= group[0] is Kind.ADDRESS

    def _end_check(self, member: Member) -> None:
        member.checked = False
        self._checking -= 1
        checks = self._checks[member.group]
        del checks[member]
        if not checks:
            del self._checks[member.group]


def _largest(line: _Line) -> Group | None:
    """The group with the most members in the line, None if no group has one."""
    found = max(line, key=lambda group: len(line[group]), default=None)
    return found if found is not None and line[found] else None
