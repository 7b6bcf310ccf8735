"""Console logs and diagnostics of servers: the service asks the host's agent, and says so when it is away, silent, or has none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.real.patience import until
from tests.rig.in_process import ADMIN, Agent, Fleet

from pinfold.api.compute.servers import agent_answers as route
from pinfold.core.encoding import plain
from pinfold.core.guest_questions import MOST_LOG_BYTES, About, Diagnostics, DiskUse, GuestAnswer, NicUse
from pinfold.core.identity import GuestId, HostId
from pinfold.store import guest_questions
from pinfold.store.schema import guest_question

MAC = "52:54:00:12:34:56"
COUNTED = Diagnostics(
    state="running",
    hypervisor="kvm",
    memory_mib=512,
    resident_mib=100,
    uptime_seconds=60,
    cpu_ns=(5_000_000_000, 7),
    disks=(DiskUse(name="vda", read_bytes=512, read_requests=1, write_bytes=1024, write_requests=2),),
    nics=(NicUse(mac=MAC, rx_bytes=1, rx_packets=2, rx_errors=3, rx_drop=4, tx_bytes=5, tx_packets=6, tx_errors=7, tx_drop=8),),
)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an agent as long as a busy test machine may take."""
    monkeypatch.setattr(route, "WAIT_SECONDS", 120.0)


def running(fleet: Fleet) -> tuple[Agent, str]:
    """A host and a server that runs on it."""
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    fleet.obey()
    return c1, server


def log(fleet: Fleet, server: str, argument: Any = None) -> httpx.Response:
    return fleet.http.post(f"/compute/v2.1/servers/{server}/action", json={"os-getConsoleOutput": argument}, auth=ADMIN)


def diagnostics(fleet: Fleet, server: str, version: str = "2.96") -> httpx.Response:
    return fleet.http.get(f"/compute/v2.1/servers/{server}/diagnostics", headers={"OpenStack-API-Version": f"compute {version}"})


@contextmanager
def asking(ask: Any, *arguments: Any) -> Iterator[list[httpx.Response]]:
    """Somebody asks meanwhile; the answer is in the list after the block."""
    found: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: found.append(ask(*arguments)))
    thread.start()
    yield found
    thread.join()


def question(agent: Agent) -> dict[str, Any]:
    """What the agent is asked."""
    (found,) = until(lambda: agent.orders()["guest_questions"], "the agent is asked")
    return dict(found)


def answer(agent: Agent, said: GuestAnswer) -> int:
    return agent.ask("PUT", "/host/answer", plain(said)).status_code


def kept(fleet: Fleet) -> int:
    """How many questions the database holds."""
    with fleet.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(guest_question)).scalar_one())


def test_the_end_of_a_console_log_is_fetched_from_the_agent_and_kept_nowhere(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    count = c1.orders()["count"]
    with asking(log, fleet, server, {"length": 3}) as found:
        asked = question(c1)
        assert (asked["guest"], asked["about"], asked["lines"]) == (server, "console-log", 3)
        assert c1.orders()["count"] == count + 1, "the agent's long poll ends"
        assert answer(c1, GuestAnswer(number=asked["number"], log=b"boot\x1b[0m\x00\xff\r\nlogin: ")) == 204
    assert (found[0].status_code, found[0].json()) == (200, {"output": "boot\x1b[0m\x00\ufffd\r\nlogin: "})
    assert c1.orders()["guest_questions"] == []
    assert kept(fleet) == 0


def test_a_log_of_the_longest_length_and_the_worst_bytes_reaches_who_asked(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    worst = b"\x00" * MOST_LOG_BYTES
    with asking(log, fleet, server) as found:
        asked = question(c1)
        assert asked["lines"] == 0
        assert c1.ask("PUT", "/host/answer", {**plain(GuestAnswer(number=asked["number"], log=worst + b"x"))}).status_code == 400
        assert answer(c1, GuestAnswer(number=asked["number"], log=worst)) == 204
    assert found[0].json()["output"] == worst.decode()


def test_a_length_is_written_as_nova_allows_and_another_argument_is_refused(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    for length, lines in ((-1, 0), ("-1", 0), ("7", 7), (None, 0), (10**9, 100_000)):
        with asking(log, fleet, server, {"length": length}):
            asked = question(c1)
            answer(c1, GuestAnswer(number=asked["number"]))
        assert asked["lines"] == lines
    lengths = ("many", "--5", "5-", -2, True, 1.5)
    for argument in (*({"length": length} for length in lengths), {"lines": 1}, [1], "x"):
        refused = log(fleet, server, argument)
        assert refused.status_code == 400
        assert "a number of lines" in refused.json()["badRequest"]["message"]


def test_what_the_agent_cannot_answer_is_a_sentence(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    with asking(log, fleet, server) as found:
        answer(c1, GuestAnswer(number=question(c1)["number"], failure=f"guest {server} has no console log"))
    assert found[0].status_code == 409
    assert found[0].json()["conflictingRequest"]["message"] == f"guest {server} has no console log"


def test_an_agent_that_is_away_is_not_waited_for_and_a_silent_one_not_long(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "WAIT_SECONDS", 0.2)
    c1, server = running(fleet)
    silent = log(fleet, server)
    assert silent.status_code == 503
    assert "the agent of host c1 has not answered within" in silent.json()["serviceUnavailable"]["message"]
    assert kept(fleet) == 0
    c1.ask("DELETE", "/host")
    away = log(fleet, server)
    assert away.status_code == 503
    assert away.json()["serviceUnavailable"]["message"] == f"server {server} is on host c1, whose agent is away"
    assert log(fleet, "00000000-0000-4000-8000-000000000000").status_code == 404


def test_only_the_agent_of_the_host_answers_and_only_once(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    c2 = fleet.host("c2")
    with asking(log, fleet, server) as found:
        number = question(c1)["number"]
        assert answer(c2, GuestAnswer(number=number, log=b"not the guest's")) == 204
        assert answer(c1, GuestAnswer(number=number + 1, log=b"to nothing")) == 204
        assert question(c1)["number"] == number, "nobody has answered it"
        answer(c1, GuestAnswer(number=number, log=b"the guest's"))
        answer(c1, GuestAnswer(number=number, log=b"later"))
    assert found[0].json() == {"output": "the guest's"}


def test_so_many_questions_wait_for_one_agent_and_no_more(fleet: Fleet) -> None:
    c1, server = running(fleet)
    with fleet.database.write() as connection:
        for _ in range(guest_questions.MOST_WAITING):
            guest_questions.ask(connection, HostId(c1.id), GuestId(server), About.CONSOLE_LOG)
    refused = log(fleet, server)
    assert refused.status_code == 503
    assert "8 questions wait for the agent of the server's host" in refused.json()["serviceUnavailable"]["message"]
    assert fleet.http.delete(f"/compute/v2.1/servers/{server}").status_code == 204
    fleet.obey()
    assert fleet.http.delete("/v1/hosts/c1").status_code == 204, "a host that was asked can be removed"
    assert kept(fleet) == 0


def test_a_server_without_a_host_has_no_log_and_one_that_does_not_run_no_diagnostics(fleet: Fleet) -> None:
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    assert log(fleet, server).status_code == 409
    refused = diagnostics(fleet, server)
    assert refused.status_code == 409
    assert "does not run" in refused.json()["conflictingRequest"]["message"]


def test_diagnostics_are_as_nova_writes_them(fleet: Fleet, patient: None) -> None:
    c1, server = running(fleet)
    shown = {}
    for version in ("2.48", "2.47"):
        with asking(diagnostics, fleet, server, version) as found:
            asked = question(c1)
            assert asked["about"] == "diagnostics"
            answer(c1, GuestAnswer(number=asked["number"], diagnostics=COUNTED))
        assert found[0].status_code == 200, found[0].text
        shown[version] = found[0].json()
    assert shown["2.48"] == {
        "state": "running",
        "driver": "libvirt",
        "hypervisor": "kvm",
        "hypervisor_os": "linux",
        "uptime": 60,
        "config_drive": False,
        "num_cpus": 2,
        "num_nics": 1,
        "num_disks": 1,
        "memory_details": {"maximum": 512, "used": None},
        "cpu_details": [{"id": 0, "time": 5_000_000_000, "utilisation": None}, {"id": 1, "time": 7, "utilisation": None}],
        "nic_details": [
            {
                "mac_address": MAC,
                "rx_octets": 1,
                "rx_packets": 2,
                "rx_errors": 3,
                "rx_drop": 4,
                "rx_rate": None,
                "tx_octets": 5,
                "tx_packets": 6,
                "tx_errors": 7,
                "tx_drop": 8,
                "tx_rate": None,
            }
        ],
        "disk_details": [{"read_bytes": 512, "read_requests": 1, "write_bytes": 1024, "write_requests": 2, "errors_count": None}],
    }
    assert (shown["2.47"]["cpu0_time"], shown["2.47"]["vda_write"], shown["2.47"][f"{MAC}_tx"]) == (5_000_000_000, 1024, 5)
    assert shown["2.47"]["memory"] == 512 * 1024
