"""The stories of guests, and their file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.agent.story import MOST_ENTRIES, MOST_STORIES, MOST_TEXT, Stories, noted, story
from pinfold.agent.story_file import read_stories, write_stories
from pinfold.core.errors import InvalidRequest

A, B = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-aaaaaaaaaaaa"
TOLD = noted(noted(noted({}, A, "start begins", time=1.0, name="web"), B, "it is running", time=2.0), A, "it runs", time=3.0)


def test_a_story_is_found_by_id_by_the_hypervisors_name_and_by_the_servers() -> None:
    assert [entry.what for entry in story(TOLD, A).entries] == ["start begins", "it runs"]
    assert story(TOLD, f"instance-{A}") == story(TOLD, "web") == story(TOLD, A)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("wed", "the agent of this host has no story of a guest 'wed'; did you mean web?"),
        ("else", "the agent of this host has no story of a guest 'else'"),
    ],
)
def test_a_guest_without_a_story_is_one_sentence(key: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{sentence.replace('?', '[?]')}$"):
        story(TOLD, key)
    with pytest.raises(InvalidRequest, match=r"^no agent of this host has noted anything about a guest yet$"):
        story({}, key)


def test_of_two_servers_with_one_name_the_guests_are_named() -> None:
    twins = noted(TOLD, B, "it ends", time=4.0, name="web")
    with pytest.raises(InvalidRequest, match=f"^several servers are called 'web'; name one of the guests {A}, {B}$"):
        story(twins, "web")


def test_what_repeats_the_last_entry_is_no_news() -> None:
    assert noted(TOLD, A, "it runs", time=9.0) is TOLD
    assert len(noted(TOLD, A, "start begins", time=9.0)[A].entries) == 3


def test_stories_are_bounded_and_the_newest_are_kept() -> None:
    stories: Stories = {}
    for number in range(MOST_STORIES + 10):
        stories = noted(stories, f"{number:08}", "it runs", time=float(number))
    stories = noted(stories, f"{10:08}", "it ends", time=9e9)
    stories = noted(stories, "another", "it runs", time=9e9)
    assert len(stories) == MOST_STORIES
    assert f"{10:08}" in stories
    assert f"{11:08}" not in stories
    for number in range(MOST_ENTRIES + 10):
        stories = noted(stories, A, f"{number} " + "x" * 1000, time=float(number))
    assert len(stories[A].entries) == MOST_ENTRIES
    assert stories[A].entries[-1].what.startswith(f"{MOST_ENTRIES + 9} ")
    assert {len(entry.what) for entry in stories[A].entries} == {MOST_TEXT}


def test_what_is_written_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.stories"
    assert read_stories(path) == {}
    write_stories(path, TOLD)
    assert read_stories(path) == TOLD
    assert list(read_stories(path)) == list(TOLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(st.text(), st.text(max_size=200))
def test_any_text_can_be_written_and_read(tmp_path_factory: pytest.TempPathFactory, what: str, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / "agent.stories"
    stories = noted({}, A, what, time=1.0, name=name)
    write_stories(path, stories)
    assert read_stories(path) == stories


@pytest.mark.parametrize(
    "text",
    [
        "",
        "half of",
        "[]",
        '{"v":2,"stories":[]}',
        '{"v":1,"stories":[{"guest":"../x"}]}',
        json.dumps({"v": 1, "stories": [{"guest": A, "entries": [{"time": -1, "what": "x"}]}]}),
        json.dumps({"v": 1, "stories": [{"guest": A, "entries": [{"time": 1e300, "what": "x"}]}]}),
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.stories"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=f"^{path} does not hold the stories of guests: .+$"):
        read_stories(path)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=f"^{tmp_path}: the stories of guests cannot be read: Is a directory$"):
        read_stories(tmp_path)
