"""Repairs that are asked of agents, and the answers, on real databases."""

from __future__ import annotations

import pytest
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId, HostId
from pinfold.core.repair_question import RepairAnswer, RepairQuestion, RepairResult
from pinfold.store import repairs
from pinfold.store.database import Database
from pinfold.store.schema import guest_repair


def test_a_repair_is_asked_for_answered_and_asked_for_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    c1, c2 = HostId(add_host(database, "c1")), HostId(add_host(database, "c2"))
    guest = GuestId(add_guest(database, pinned(1)))
    with database.write() as connection:
        assert repairs.of_guest(connection, guest) is None
        assert [repairs.ask(connection, guest, c1), repairs.ask(connection, guest, c1)] == [1, 1], "one that waits is not asked again"
        assert repairs.questions(connection, c1) == (RepairQuestion(guest=guest, number=1),)
        assert repairs.questions(connection, c2) == ()
        waiting = repairs.of_guest(connection, guest)
        assert waiting is not None and (waiting.waits, waiting.result) == (True, None)

        done = RepairAnswer(number=1, result=RepairResult.DONE, sentence="moved")
        repairs.answer(connection, c2, guest, done)
        assert repairs.questions(connection, c1), "another host's agent was not asked"
        repairs.answer(connection, c1, guest, RepairAnswer(number=2, result=RepairResult.DONE))
        assert repairs.questions(connection, c1), "nobody has asked that"
        repairs.answer(connection, c1, guest, done)
        assert repairs.questions(connection, c1) == ()
        (told,) = repairs.of_host(connection, c1)
        assert (told.result, told.sentence, told.waits) == (RepairResult.DONE, "moved", False)

        assert repairs.ask(connection, guest, c2) == 2, "it is on another host by now"
        assert repairs.questions(connection, c1) == () and len(repairs.questions(connection, c2)) == 1
        repairs.forget(connection, c2)
        assert repairs.of_guest(connection, guest) is None
        with pytest.raises(InvalidRequest, match="no such host"):
            repairs.ask(connection, guest, HostId("none"))
    with database.write() as connection:
        repairs.ask(connection, guest, c1)
        monkeypatch.setattr(repairs, "VALID_SECONDS", -1.0)
        monkeypatch.setattr(repairs, "_PENDING", repairs._OPEN & (guest_repair.c.asked < 0))
        assert repairs.questions(connection, c1) == (), "an agent is not asked for long"
        silent = repairs.of_guest(connection, guest)
        assert silent is not None and (silent.waits, silent.result) == (False, None)
