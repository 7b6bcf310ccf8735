"""`pinfold agent story`: the screen, the document, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Pinfold

from pinfold.agent.story import noted
from pinfold.agent.story_file import write_stories

GUEST = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A host whose agent has noted two events of one guest."""
    made = tmp_path / "pinfold.conf"
    made.write_text(f"[DEFAULT]\nhost = c1\n[pinfold]\nstate_dir = {tmp_path}\n")
    stories = noted({}, GUEST, "start begins", time=1_764_316_800.0, name="web")
    write_stories(tmp_path / "agent.stories", noted(stories, GUEST, "it is \x1b[31mrunning", time=1_764_316_801.5))
    return made


def test_a_story_has_a_line_for_each_event_with_its_time(pinfold: Pinfold, config: Path) -> None:
    answer = pinfold("agent", "story", "web", "--config", str(config))
    assert answer.status == 0, answer
    assert answer.out.splitlines() == [
        f"Guest {GUEST}, server web, times in UTC:",
        "time                 what",
        "2025-11-28 08:00:00  start begins",
        "2025-11-28 08:00:01  it is \N{REPLACEMENT CHARACTER}[31mrunning",
    ]


def test_a_story_as_json(pinfold: Pinfold, config: Path) -> None:
    document = json.loads(pinfold("agent", "story", f"instance-{GUEST}", "--config", str(config), "--json").out)
    assert document["guest"] == GUEST
    assert document["server"] == "web"
    assert document["events"][0] == {"time": "2025-11-28T08:00:00Z", "what": "start begins"}


@pytest.mark.parametrize("text", ["", "{}", "half", '{"v":9,"stories":[]}'])
def test_a_damaged_file_is_one_sentence_and_status_2(pinfold: Pinfold, config: Path, text: str) -> None:
    path = config.with_name("agent.stories")
    path.write_text(text)
    answer = pinfold("agent", "story", "web", "--config", str(config))
    assert answer.err.startswith(f"pinfold: {path} does not hold the stories of guests: ")
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)


def test_options_before_the_command_are_refused_instead_of_ignored(pinfold: Pinfold, config: Path) -> None:
    answer = pinfold("agent", "--config", str(config), "story", "web")
    assert (answer.status, answer.err) == (2, "pinfold: options go after `story`: pinfold agent story GUEST --config FILE\n")
