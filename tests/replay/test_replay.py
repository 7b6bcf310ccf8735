"""Today's code gives the answers that were recorded, but for the differences that are listed with their reasons.

`python -m tests.replay.record` records anew, on purpose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.postgres import PostgreSQL
from tests.replay import families
from tests.replay.differences import DIFFERENCES
from tests.replay.recording import Answers, Difference, Names, compare, read_answers
from tests.rig.in_process import Fleet


def assert_as_recorded(family: str, today: Answers) -> None:
    """Fails with the first cases that differ, in full."""
    texts = compare(family, read_answers(family), today, DIFFERENCES)
    assert not texts, "\n\n".join(texts)


def test_twenty_thousand_requests_fit_or_are_refused_as_recorded() -> None:
    assert_as_recorded("fits", families.fits())


def test_the_recorded_requests_are_many_and_both_kinds_are_among_them() -> None:
    answers = read_answers("fits")
    fitting = sum("vcpus" in answer for answer in answers.values())
    assert len(answers) == 20_000
    assert 5_000 < fitting < 15_000


def test_domains_are_written_as_recorded() -> None:
    assert_as_recorded("domains", families.domains(read_answers("fits")))


def test_recorded_domains_are_read_as_they_were() -> None:
    assert_as_recorded("domains-read", families.domains_read(read_answers("domains")))


def test_commands_print_the_recorded_documents(tmp_path: Path) -> None:
    assert_as_recorded("documents", families.documents(tmp_path))


def test_the_service_and_the_commands_that_ask_it_answer_as_recorded(fleet: Fleet, tmp_path: Path) -> None:
    said, printed = families.service(fleet, tmp_path)
    assert_as_recorded("story", said)
    assert_as_recorded("service-documents", printed)


def test_agents_send_the_recorded_messages_and_understand_the_recorded_answers() -> None:
    assert_as_recorded("messages", families.messages())


def test_the_service_understands_the_recorded_messages_of_agents() -> None:
    assert_as_recorded("messages-read", families.messages_read(read_answers("messages")))


def test_a_recorded_sqlite_file_is_read_as_it_was(tmp_path: Path) -> None:
    assert_as_recorded("sqlite-read", families.sqlite_read(tmp_path))


@pytest.mark.real_postgresql
def test_a_recorded_postgresql_dump_is_read_as_it_was(postgresql: PostgreSQL) -> None:
    assert_as_recorded("postgresql-read", families.postgresql_read(postgresql.create_database()))


def test_the_recorded_databases_hold_guests_and_claims_in_every_state() -> None:
    for family in ("sqlite-read", "postgresql-read"):
        recorded = read_answers(family)
        guests = [answer for case, answer in recorded.items() if case.startswith("guest ")]
        claims = [claim for case, answer in recorded.items() if case.startswith("claims of ") for claim in answer]
        assert {guest["observed"] for guest in guests} == {"unseen", "running", "paused", "stopped", "crashed", "absent"}
        assert {guest["desired"] for guest in guests} == {"running", "stopped", "absent"}
        assert {claim["state"] for claim in claims} == {"intended", "held", "releasing", "abandoned"}
        assert any(guest["fault"] for guest in guests) and any(guest["deleted"] for guest in guests)
        assert any(answer for case, answer in recorded.items() if case.startswith("tombstones"))
        assert len(recorded["aggregates"]) == 2


# -- the comparison itself ------------------------------------------------------------------------------------------------------------


def _without_claim(answer: Any) -> Any:
    answer.pop("claim", None)
    return answer


ALLOWED = Difference(family="f", reason="it names its claim", undo=_without_claim, cases="show *")


def test_a_case_that_differs_is_named_with_both_texts() -> None:
    (text,) = compare("f", {"a": {"x": 1}, "b": 2}, {"a": {"x": 3}, "b": 2}, ())
    assert text.startswith("f a:\n")
    assert '- "x": 1' in text and '+ "x": 3' in text


def test_cases_that_come_and_go_differ_too() -> None:
    assert compare("f", {"a": 1}, {"b": 1}, ()) == ["f a: today lacks it", "f b: it is new; record again"]


def test_few_cases_are_shown_and_the_others_named() -> None:
    *shown, rest = compare("f", {str(case): 1 for case in range(9)}, {str(case): 2 for case in range(9)}, ())
    assert len(shown) == 5
    assert rest == "f: 9 cases differ, these too: 5 6 7 8"


def test_a_difference_that_is_allowed_passes_in_its_cases_alone() -> None:
    recorded, today = {"show a": {"x": 1}, "list": {}}, {"show a": {"x": 1, "claim": "c"}, "list": {"claim": "c"}}
    (text,) = compare("f", recorded, today, [ALLOWED])
    assert text.startswith("f list:")
    assert len(compare("g", recorded, today, [ALLOWED])) == 2


def test_a_difference_that_is_allowed_and_not_there_fails() -> None:
    assert compare("f", {"show a": {}}, {"show a": {}}, [ALLOWED]) == ["f: this allowed difference is not there: it names its claim"]


def test_names_stand_for_what_is_new_in_every_run() -> None:
    token = "aB_-" * 10 + "abc"
    host = "3f6a1c52-7c1e-4a5e-9d0b-0a4b6f1f2d11"
    names = Names({host: "<host c1>", "/tmp/x": "FOLDER"})
    assert names({host: [f"{host}.{token}", "2026-01-02T03:04:05Z", 1.7e9, 2.5, "/tmp/x/a", host.replace("3", "4")]}) == {
        "<host c1>": ["<token of <host c1>>", "<time>", "<time>", 2.5, "FOLDER/a", "<id>"]
    }
