"""Links to consoles, and the WebSockets behind them: who gets in, who does not, and what passes. The test plays the agent."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from tests.real.patience import until
from tests.rig.client import COMPUTE, compute
from tests.rig.in_process import ADMIN, Agent, Fleet
from tests.stories.test_projects import KnownTokens

from pinfold.api import console_sockets
from pinfold.api.app import create_app
from pinfold.core.encoding import plain
from pinfold.core.guest_questions import GuestAnswer
from pinfold.core.settings import ConsoleAddresses
from pinfold.store import console_tokens
from pinfold.store.schema import console_token

SERIAL = {"remote_console": {"protocol": "serial", "type": "serial"}}


@pytest.fixture
def client(fleet: Fleet) -> Iterator[TestClient]:
    """An API with consoles, and with tokens of Keystone beside the accounts."""
    services = dataclasses.replace(fleet.services, consoles=ConsoleAddresses(), tokens=KnownTokens())
    with TestClient(create_app(services), base_url="http://pinfold.test") as made:
        yield made


def running(fleet: Fleet) -> tuple[Agent, str]:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    fleet.obey()
    return c1, server


def link(
    client: httpx.Client, server: str, body: Any = SERIAL, *, auth: Any = ADMIN, version: str = "2.96", **headers: str
) -> httpx.Response:
    return client.post(f"{COMPUTE}/servers/{server}/remote-consoles", json=body, auth=auth, headers=compute(version) | headers)


def path_of(answer: httpx.Response) -> str:
    """The path of a link."""
    assert answer.status_code == 200, answer.text
    parts = urlsplit(answer.json()["remote_console"]["url"])
    assert (parts.scheme, parts.netloc) == ("ws", "pinfold.test")
    return f"{parts.path}?{parts.query}"


def refusal(client: TestClient, path: str, **headers: str) -> tuple[int, str]:
    """Why no console is opened."""
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect(path, headers=headers):
        pass
    return caught.value.status_code, caught.value.text


@contextmanager
def opened(client: TestClient, path: str, agent: Agent) -> Iterator[tuple[WebSocketTestSession, WebSocketTestSession]]:
    """Both sides of a console: the user's, and the one that the agent brings when it is asked."""
    brought: list[WebSocketTestSession] = []
    ended = threading.Event()

    def bring() -> None:
        (asked,) = until(lambda: agent.orders()["guest_questions"], "the agent is asked")
        assert (asked["about"], asked["url"]) == ("console", "")
        with client.websocket_connect(f"/agent/v1/consoles/{asked['number']}", headers=bearer(agent)) as side:
            brought.append(side)
            ended.wait()

    thread = threading.Thread(target=bring)
    thread.start()
    try:
        with client.websocket_connect(path, subprotocols=["binary"]) as user:
            until(lambda: brought, "the agent has connected")
            yield user, brought[0]
    finally:
        ended.set()
        thread.join()


def bearer(agent: Agent) -> dict[str, str]:
    return {"Authorization": f"Bearer {agent.token}"}


def test_bytes_pass_both_ways_until_either_side_ends(fleet: Fleet, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_sockets, "CONNECT_SECONDS", 120.0)
    c1, server = running(fleet)
    path = path_of(link(client, server))
    with opened(client, path, c1) as (user, agent):
        assert user.accepted_subprotocol == "binary"
        user.send_bytes(b"\x00\xffls\r")
        assert agent.receive_bytes() == b"\x00\xffls\r"
        user.send_text("é")
        assert agent.receive_bytes() == "é".encode()
        agent.send_bytes(b"\x1b[0m")
        assert user.receive_bytes() == b"\x1b[0m"
        agent.close(1000, "the server has stopped")
        with pytest.raises(WebSocketDisconnect) as ended:
            user.receive_bytes()
        assert ended.value.reason == "the server has stopped"
    with opened(client, path, c1) as (user, agent):
        user.close()
        with pytest.raises(WebSocketDisconnect):
            agent.receive_bytes()
    assert c1.orders()["guest_questions"] == []


def test_a_console_in_which_nothing_moves_is_closed(fleet: Fleet, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_sockets, "CONNECT_SECONDS", 120.0)
    monkeypatch.setattr(console_sockets, "IDLE_SECONDS", 1.0)
    c1, server = running(fleet)
    with opened(client, path_of(link(client, server)), c1) as (user, _), pytest.raises(WebSocketDisconnect) as ended:
        user.receive_bytes()
    assert "nothing was typed or printed" in (ended.value.reason or "")


def test_a_token_opens_one_server_for_ten_minutes_and_no_longer_than_the_server_is_there(fleet: Fleet, client: TestClient) -> None:
    _, server = running(fleet)
    path, other = path_of(link(client, server)), path_of(link(client, server))
    assert path != other
    with fleet.database.read() as connection:
        kept = connection.execute(sa.select(console_token.c.digest)).scalars().all()
    token = path.partition("token=")[2]
    assert len(token) == 43 and console_tokens.digest_of(token) in kept and token not in kept
    with fleet.database.write() as connection:
        aged = console_token.update().where(console_token.c.digest == console_tokens.digest_of(token))
        connection.execute(aged.values(made=console_token.c.made - console_tokens.VALID_SECONDS))
    many = f"/serial/?{'a=b&' * 9}token=x"
    for wrong in (path, "/serial/?token=x", "/serial/", "/serial/?token=%ff%00", f"/serial/?token={token[:-1]}", many):
        status, text = refusal(client, wrong)
        assert (status, "unknown or has expired" in text) == (403, True), wrong
    fleet.http.delete(f"{COMPUTE}/servers/{server}")
    fleet.obey()
    assert refusal(client, other)[0] == 403
    with fleet.database.read() as connection:
        assert connection.execute(sa.select(console_token)).all() == []


def test_a_new_token_replaces_the_oldest_of_many(fleet: Fleet, client: TestClient) -> None:
    _, server = running(fleet)
    paths = [path_of(link(client, server)) for _ in range(console_tokens.MOST_OF_A_GUEST + 1)]
    opens = [fleet.services.fleet.consoles.opened(path.partition("token=")[2]) is not None for path in paths]
    assert opens == [False] + [True] * console_tokens.MOST_OF_A_GUEST


def test_a_console_is_its_projects_and_readers_get_none(fleet: Fleet, client: TestClient) -> None:
    _, server = running(fleet)
    for token, status in (("m-red", 404), ("r-red", 403), ("a-red", 200)):
        assert link(client, server, auth=None, **{"X-Auth-Token": token}).status_code == status, token


def test_the_agent_is_the_one_of_the_host_and_its_reason_reaches_the_user(
    fleet: Fleet, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_sockets, "CONNECT_SECONDS", 120.0)
    monkeypatch.setattr(console_sockets, "_ASKED_SECONDS", 0.0)
    c1, server = running(fleet)
    c2 = fleet.host("c2")
    found: list[tuple[int, str]] = []
    thread = threading.Thread(target=lambda: found.append(refusal(client, path_of(link(client, server)))))
    thread.start()
    (asked,) = until(lambda: c1.orders()["guest_questions"], "the agent is asked")
    path = f"/agent/v1/consoles/{asked['number']}"
    assert refusal(client, path)[0] == 401
    assert refusal(client, path, **bearer(c2)) == (404, refusal(client, "/agent/v1/consoles/x", **bearer(c1))[1])
    assert c1.ask("PUT", "/host/answer", plain(GuestAnswer(number=asked["number"], failure="its terminal is gone"))).status_code == 204
    thread.join()
    assert found[0][0] == 409 and "its terminal is gone" in found[0][1]


def test_an_agent_that_is_away_or_silent_is_named(fleet: Fleet, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_sockets, "CONNECT_SECONDS", 0.2)
    c1, server = running(fleet)
    path = path_of(link(client, server))
    status, text = refusal(client, path)
    assert status == 503 and "the agent of host c1 has not opened the console within" in text
    c1.ask("DELETE", "/host")
    status, text = refusal(client, path)
    assert status == 503 and "whose agent is away" in text
    refused = link(client, server)
    assert refused.status_code == 503 and "whose agent is away" in refused.text


def test_so_many_consoles_of_an_account_or_a_host_and_no_more(fleet: Fleet, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _, server = running(fleet)
    path = path_of(link(client, server))
    monkeypatch.setattr(console_sockets, "MOST_OF_A_HOST", 0)
    status, text = refusal(client, path)
    assert status == 503 and "0 consoles of the server's host are open" in text
    monkeypatch.setattr(console_sockets, "MOST_OF_AN_ACCOUNT", 0)
    assert "the account has 0 consoles open" in refusal(client, path)[1]


def test_the_configured_addresses_are_in_the_link_and_in_the_question(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_sockets, "CONNECT_SECONDS", 120.0)
    c1, server = running(fleet)
    addresses = ConsoleAddresses(base_url="wss://consoles.example/serial", agent_url="https://api2.example:8774")
    with TestClient(create_app(dataclasses.replace(fleet.services, consoles=addresses)), base_url="http://pinfold.test") as client:
        url = link(client, server).json()["remote_console"]["url"]
        assert url.startswith("wss://consoles.example/serial/?token=")
        thread = threading.Thread(target=refusal, args=(client, f"/serial?{urlsplit(url).query}"))
        thread.start()
        (asked,) = until(lambda: c1.orders()["guest_questions"], "the agent is asked")
        assert asked["url"] == "https://api2.example:8774", "the process that the agent has to reach"
        c1.ask("PUT", "/host/answer", plain(GuestAnswer(number=asked["number"], failure="no")))
        thread.join()


def test_consoles_are_off_by_default_and_the_answer_names_the_option(fleet: Fleet) -> None:
    _, server = running(fleet)
    refused = link(fleet.http, server)
    assert refused.status_code == 501 and "[serial_console] enabled" in refused.text
    with TestClient(create_app(fleet.services)) as client:
        assert refusal(client, "/serial/?token=x")[0] == 404
        assert refusal(client, "/placement/")[0] == 404, "no other path has WebSockets"


def test_what_else_nova_has_is_refused_in_a_sentence(fleet: Fleet, client: TestClient) -> None:
    _, server = running(fleet)
    display = link(client, server, {"remote_console": {"protocol": "vnc", "type": "novnc"}})
    assert display.status_code == 501 and "--serial" in display.text
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"remote_console": {}},
        {"remote_console": {"protocol": "serial", "type": "novnc"}},
        {**SERIAL, "x": 1},
    )
    for body in bodies:
        assert link(client, server, body).status_code == 400, body
    assert link(client, server, version="2.5").status_code == 404

    def act(body: Any, version: str) -> httpx.Response:
        answered: httpx.Response = client.post(f"{COMPUTE}/servers/{server}/action", json=body, auth=ADMIN, headers=compute(version))
        return answered

    older = act({"os-getSerialConsole": {"type": "serial"}}, "2.1")
    assert older.status_code == 200 and older.json()["console"]["url"].startswith("ws://pinfold.test/serial/?token=")
    assert act({"os-getSerialConsole": {"type": "serial"}}, "2.6").status_code == 404
    assert act({"os-getSerialConsole": {}}, "2.1").status_code == 400
    fleet.ask("POST", f"/servers/{server}/action", {"os-stop": None}, status=202)
    fleet.obey()
    stopped = link(client, server)
    assert stopped.status_code == 409 and "does not run" in stopped.text
