"""`GET /v1/hosts/{name}/history`: the service asks the host's agent, and says so when it is away or silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.real.patience import until
from tests.rig.in_process import READER, Agent, Fleet

from pinfold.api.v1 import history as route
from pinfold.core.encoding import plain
from pinfold.core.history import HistoryAnswer, HostHistory, PoolHistory


def samples(number: int = 12) -> HostHistory:
    """Two minutes of a host."""
    work = tuple(range(number))
    return HostHistory(
        host="c1",
        step_seconds=10.0,
        ends=tuple(1000.0 + 10.0 * place for place in range(number)),
        seconds=(10.0,) * number,
        pools=(PoolHistory(pool="overhead", work_millicpu=work, wait_millicpu=work),),
    )


def answer(agent: Agent, number: int, history: HostHistory | None = None) -> httpx.Response:
    return agent.ask("PUT", "/host/history", plain(HistoryAnswer(number=number, history=history or samples())))


def question(agent: Agent) -> dict[str, Any]:
    """What the agent is asked."""
    found: dict[str, Any] = until(lambda: agent.orders()["question"], "the agent is asked")
    return found


@contextmanager
def asking(fleet: Fleet, **query: Any) -> Iterator[list[httpx.Response]]:
    """Somebody asks meanwhile; the answer is in the list after the block."""
    found: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: found.append(fleet.http.get("/v1/hosts/c1/history", params=query, auth=READER)))
    thread.start()
    yield found
    thread.join()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an agent as long as a busy test machine may take."""
    monkeypatch.setattr(route, "WAIT_SECONDS", 120.0)


def test_the_agent_is_asked_and_its_answer_reaches_who_asked(fleet: Fleet, patient: None) -> None:
    c1, before = fleet.host("c1"), None
    before = c1.orders()
    assert before["question"] is None
    with asking(fleet) as found:
        asked = question(c1)
        assert asked["seconds"] == 3600
        assert c1.orders()["count"] == before["count"] + 1, "the agent's long poll ends"
        assert answer(c1, asked["number"]).status_code == 204
    assert found[0].status_code == 200
    assert found[0].json() == plain(samples())
    assert c1.orders()["question"] is None


def test_less_than_the_hour_can_be_asked_for(fleet: Fleet, patient: None) -> None:
    c1 = fleet.host("c1")
    with asking(fleet, minutes=1) as found:
        asked = question(c1)
        assert asked["seconds"] == 60
        answer(c1, asked["number"])
    assert found[0].json()["ends"] == [1000.0 + 10.0 * place for place in range(6, 12)]
    assert found[0].json()["pools"][0]["work_millicpu"] == list(range(6, 12))
    for minutes in ("0", "61", "x"):
        assert fleet.http.get("/v1/hosts/c1/history", params={"minutes": minutes}).status_code == 400


def test_several_who_ask_at_once_are_one_question(fleet: Fleet, patient: None) -> None:
    c1 = fleet.host("c1")
    with asking(fleet) as one, asking(fleet) as other:
        asked = question(c1)
        count = c1.orders()["count"]
        answer(c1, asked["number"])
    assert (one[0].status_code, other[0].status_code) == (200, 200)
    assert c1.orders()["count"] == count


def test_an_agent_that_is_away_is_not_waited_for(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.ask("DELETE", "/host")
    away = fleet.http.get("/v1/hosts/c1/history")
    assert away.status_code == 503
    assert away.json()["error"]["message"] == "host c1: its samples are with its agent, which is away"
    assert fleet.http.get("/v1/hosts/nowhere/history").status_code == 404


def test_an_agent_that_is_silent_is_waited_for_so_long_and_no_longer(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "WAIT_SECONDS", 0.2)
    fleet.host("c1")
    silent = fleet.http.get("/v1/hosts/c1/history")
    assert silent.status_code == 503
    assert "its agent has not answered within" in silent.json()["error"]["message"]


def test_an_answer_counts_for_the_host_of_the_agent_and_for_what_was_asked(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "WAIT_SECONDS", 0.2)
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    assert fleet.http.get("/v1/hosts/c1/history").status_code == 503
    number = question(c1)["number"]
    assert answer(c2, number).status_code == 204
    assert answer(c1, number + 1).status_code == 204
    assert question(c1)["number"] == number, "nobody has answered it"
    wrong = plain(HistoryAnswer(number=number, history=samples()))
    wrong["history"]["pools"][0]["work_millicpu"] = ["much"]
    assert c1.ask("PUT", "/host/history", wrong).status_code == 400
    assert fleet.http.put("/agent/v1/host/history", json=plain(HistoryAnswer(number=number, history=samples()))).status_code == 401
    assert answer(c1, number).status_code == 204
    monkeypatch.setattr(route, "WAIT_SECONDS", 120.0)
    assert fleet.http.get("/v1/hosts/c1/history").status_code == 200, "the answer came later, and is still fresh"


def test_a_host_that_was_asked_can_be_removed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "WAIT_SECONDS", 0.2)
    fleet.host("c1")
    fleet.http.get("/v1/hosts/c1/history")
    assert fleet.http.delete("/v1/hosts/c1").status_code == 204
