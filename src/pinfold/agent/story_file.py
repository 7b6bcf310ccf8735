"""The file of the stories in the agent's state directory. `story` has the stories themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pinfold.agent.files import replace_file
from pinfold.agent.story import MOST_STORIES, Stories, Story
from pinfold.core.encoding import json_reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings

_MOST_BYTES: Final = 32 << 20
"""Above what the bounds of `story` allow, in characters of up to 4 bytes."""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The written form, version 1; the guest that something happened to last is the last one."""

    v: Literal[1]
    stories: Annotated[tuple[Story, ...], Meta(max_length=MOST_STORIES)] = ()


_read_file = json_reader(_File)


def stories_path(settings: HostSettings) -> Path:
    """Where the agent of a host keeps its stories."""
    return Path(settings.state_dir, "agent.stories")


def read_stories(path: Path) -> Stories:
    """The stories in the file; none if there is no file. Raises `InvalidRequest` for a file that cannot be read or parsed."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidRequest(f"{path}: the stories of guests cannot be read: {error.strerror}", key=str(path)) from error
    if len(data) > _MOST_BYTES:
        raise InvalidRequest(f"{path}: the stories of guests are larger than {_MOST_BYTES >> 20} MiB", key=str(path))
    try:
        found = _read_file(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} does not hold the stories of guests: {error}", key=str(path)) from error
    return {story.guest: story for story in found.stories}


def write_stories(path: Path, stories: Stories) -> None:
    """Replace the file."""
    replace_file(path, msgspec.json.encode(_File(v=1, stories=tuple(stories.values()))))
