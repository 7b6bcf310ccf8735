"""The stories of guests: what the agent did, saw and was told about each, for a support case. Pure; `story_file` has the file.

Stories are bounded, and repeat nothing: the newest entries of the guests that something happened to last are kept.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from pinfold.core.bounds import GuestUuid, Name
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.printable import cleaned, shortened

MOST_ENTRIES: Final = 50
"""The most entries of one guest."""
MOST_STORIES: Final = 300
MOST_TEXT: Final = 400
"""The most characters of one entry. A failure may have any length, and its beginning matters most."""


class Entry(Struct, frozen=True, kw_only=True):
    """What happened to a guest, and when: `time` in seconds since the epoch."""

    time: Annotated[float, Meta(ge=0, le=253_402_300_799)]
    what: Annotated[str, Meta(max_length=MOST_TEXT)]


class Story(Struct, frozen=True, kw_only=True):
    """What happened to one guest, oldest first. `name` is that of its server, '' when the agent does not know it."""

    guest: GuestUuid
    name: Name = ""
    entries: Annotated[tuple[Entry, ...], Meta(max_length=MOST_ENTRIES)] = ()


Stories: TypeAlias = Mapping[GuestId, Story]
"""The story of each guest by its id; the guest that something happened to last is the last one."""


def noted(stories: Stories, guest: GuestId, what: str, *, time: float, name: str = "") -> Stories:
    """The stories with one more entry, unless it repeats the guest's last one. Drops what exceeds the bounds, oldest first.

    >>> stories = noted({}, "g", "it starts", time=1.0)
    >>> [entry.what for entry in noted(stories, "g", "it runs", time=2.0)["g"].entries]
    ['it starts', 'it runs']
    """
    text = cleaned(shortened(what, MOST_TEXT))
    before = stories.get(guest, Story(guest=guest))
    if before.entries and before.entries[-1].what == text:
        return stories
    entries = (*before.entries, Entry(time=time, what=text))[-MOST_ENTRIES:]
    others = [story for story in stories.values() if story.guest != guest][-(MOST_STORIES - 1) :]
    return {story.guest: story for story in (*others, Story(guest=guest, name=cleaned(name) or before.name, entries=entries))}


def story(stories: Stories, key: str) -> Story:
    """The story of the guest with that id, that name on the hypervisor, or that name of its server.

    Raises `InvalidRequest` with the nearest name if there is none, and if several servers have the name.
    """
    found = stories.get(GuestId(key.removeprefix("instance-")))
    named = [story for story in stories.values() if story.name == key]
    if found is not None or len(named) == 1:
        return found or named[0]
    if named:
        raise InvalidRequest(
            f"several servers are called {key!r}; name one of the guests {', '.join(each.guest for each in named)}", key="guest"
        )
    if not stories:
        raise InvalidRequest("no agent of this host has noted anything about a guest yet", key="guest")
    near = difflib.get_close_matches(key, [name for each in stories.values() for name in (each.guest, each.name) if name], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InvalidRequest(f"the agent of this host has no story of a guest {key!r}{hint}", key="guest")
