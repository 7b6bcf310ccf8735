"""`pinfold server` against the service over real HTTP, with agents that the test plays."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from msgspec.structs import replace
from tests.ports import free_port
from tests.real.patience import until
from tests.rig.in_process import ADMIN, Fleet
from tests.stories.test_drift import PART, PROCESS, STRAY, finds
from tests.stories.test_host_history import answer

from pinfold.agent.wire import ThreadReport
from pinfold.api.app import create_app
from pinfold.cli.app import run
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.session import Parts
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import SeenThread
from pinfold.core.identity import HostId
from pinfold.core.overhead import ThreadClass
from pinfold.store import history
from pinfold.store.records import Observed

Pinfold = Callable[..., tuple[int, str, str]]


@contextmanager
def served(fleet: Fleet) -> Iterator[str]:
    """The application at an address of its own."""
    server = uvicorn.Server(uvicorn.Config(create_app(fleet.services), port=free_port(), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "it listens")
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def obeying(fleet: Fleet) -> Iterator[None]:
    """Agents that carry out their orders all the time."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            fleet.obey()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def clouds(url: str, password: str) -> str:
    entry = f"auth: {{endpoint: {url}/compute/v2.1, username: {ADMIN[0]}, password: {password}}}"
    return f"clouds:\n  pinfold:\n    auth_type: http_basic\n    {entry}\n    compute_endpoint_override: {url}/compute/v2.1\n"


@pytest.fixture
def pinfold(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Pinfold]:
    """Run one command line: its status, standard output and standard error."""
    with served(fleet) as url:
        file = tmp_path / "clouds.yaml"
        file.write_text(clouds(url, ADMIN[1]))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        monkeypatch.setenv("COLUMNS", "120")

        def command(line: str) -> tuple[int, str, str]:
            capsys.readouterr()
            status = run(line.split(), Parts(open_driver=lambda _: pytest.fail("no command here opens a hypervisor")))
            told = capsys.readouterr()
            return status, told.out, told.err

        yield command


def test_a_create_of_several_waits_for_all_and_fails_when_one_failed(fleet: Fleet, pinfold: Pinfold) -> None:
    fleet.host("c1")
    fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    with obeying(fleet):
        status, out, err = pinfold("server create good --flavor pin --image probe --count 2 --wait --json")
        assert (status, err) == (0, "")
        assert [(one["server"]["name"], one["server"]["status"]) for one in json.loads(out)["servers"]] == [
            ("good-1", "ACTIVE"),
            ("good-2", "ACTIVE"),
        ]
        status, out, _ = pinfold("server create wide --flavor pin --image probe --count 8 --wait")
    assert status == 1
    shown = out.splitlines()
    assert {line.split()[1] for line in shown if line.startswith("wide-")} >= {"ACTIVE", "ERROR"}
    assert "free dedicated pCPU" in out


def test_several_servers_are_deleted_at_once_or_none(fleet: Fleet, pinfold: Pinfold) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    made = {name: fleet.create(name, flavor) for name in ("a", "b", "c")}
    fleet.obey()
    status, _, err = pinfold("server delete a nobody")
    assert (status, err) == (2, "pinfold: there is no server 'nobody'\n")
    assert fleet.status(made["a"]) == "ACTIVE"
    with obeying(fleet):
        status, out, _ = pinfold("server delete a b a --wait --json")
    assert (status, json.loads(out)) == (0, {"servers": [made["a"], made["b"]], "asked": "delete"})
    status, out, _ = pinfold("server list --json")
    assert [server["name"] for server in json.loads(out)["servers"]] == ["c"]


def test_a_command_that_waited_says_what_happened(fleet: Fleet, pinfold: Pinfold) -> None:
    fleet.host("c1")
    fleet.create("vm1", fleet.flavor("tiny", vcpus=1))
    fleet.obey()

    def answered(command: str, sentence: str) -> bool:
        status, out, err = pinfold(f"server {command} vm1 --wait")
        if status == ExitStatus.CONFLICT:  # the agent has reported in the same moment
            return False
        assert (status, out, err) == (0, f"server vm1 {sentence}\n", "")
        return True

    with obeying(fleet):
        for command, sentence in {"stop": "is stopped", "start": "runs", "reboot": "has rebooted", "delete": "is deleted"}.items():
            until(lambda command=command, sentence=sentence: answered(command, sentence), f"{command} is answered")  # type: ignore[misc]


def test_a_server_without_an_image_has_nothing_to_boot(pinfold: Pinfold) -> None:
    status, _, err = pinfold("server create x --flavor tiny")
    assert (status, err.count("\n")) == (2, 1)
    assert "--image" in err


def test_a_wrong_password_and_a_missing_account_are_told_apart(
    fleet: Fleet, pinfold: Pinfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clouds.yaml"
    url = file.read_text().partition("endpoint: ")[2].partition("/compute")[0]
    file.write_text(clouds(url, "wrong"))
    status, _, err = pinfold("server list")
    assert (status, err) == (
        2,
        f"pinfold: the service at {url} refuses the password that {file} gives for account '{ADMIN[0]}', or does not have that account\n",
    )
    file.write_text(f"clouds:\n  pinfold:\n    auth_type: none\n    compute_endpoint_override: {url}/compute/v2.1\n")
    status, _, err = pinfold("server list")
    assert (status, err) == (
        2,
        f"pinfold: the service at {url} needs an account, and {file} names none; write username and password below auth\n",
    )


def test_the_threads_of_a_stopped_server_are_not_shown_as_seen_now(fleet: Fleet, pinfold: Pinfold) -> None:
    agent = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    order = agent.order(server)
    seen = SeenThread(tid=7, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.of(0), recorded=CpuSet.of(0), vcpu=0)
    report = ThreadReport(witness="procfs", threads=(seen,))
    agent.says(server, Observed.RUNNING, boot=order["boot"], revision=order["claim"]["revision"], threads=report)
    assert "as its agent last saw it" in pinfold("server show vm")[1]
    agent.says(server, Observed.STOPPED, boot=order["boot"], revision=order["claim"]["revision"])
    _, out, _ = pinfold("server show vm")
    words = " ".join(out.split())
    assert "not known to run now; these threads were last reported at 20" in words
    assert "✓" not in words and "as its agent last saw it" not in words
    _, out, _ = pinfold("server show vm --json")
    assert json.loads(out)["placement"]["observed"]["reported"] > 1_700_000_000


def test_a_shell_completes_servers_flavors_images_and_hosts(
    fleet: Fleet, pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def completed(line: str) -> list[str]:
        monkeypatch.setenv("_PINFOLD_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"pinfold {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        with pytest.raises(SystemExit):
            pinfold("")
        told = capsys.readouterr()
        assert told.err == ""
        return told.out.split()

    fleet.host("c1")
    fleet.host("d1")
    fleet.create("vm1", fleet.flavor("tiny", vcpus=1))
    assert completed("server show v") == ["vm1"]
    assert completed("server delete vm1 ") == ["vm1"]
    assert completed("flavor show t") == ["tiny"]
    assert completed("server create x --flavor ") == ["tiny"]
    assert completed("server create x --image p") == ["probe"]
    assert completed("host fence ") == ["c1", "d1"]
    assert completed("server create x --host d") == ["d1"]
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/nonexistent")
    assert completed("server show ") == []


def test_the_drift_of_a_host_is_shown_with_what_undoes_it(fleet: Fleet, pinfold: Pinfold) -> None:
    c1 = fleet.host("c1")
    assert pinfold("host drift c1") == (0, "the agent of c1 has reported no audit\n", "")
    assert pinfold("host drift nobody")[0] == 2

    finds(c1, STRAY, PART, *(replace(PROCESS, tid=number) for number in range(1_100)))
    status, out, _ = pinfold("host drift c1 --json")
    assert (status, json.loads(out)) == (1, fleet.http.get("/v1/hosts/c1/drift").json())
    status, out, _ = pinfold("host drift c1")
    assert status == 1
    assert "✗ guest instance-1: vCPU thread 71 (CPU 0/KVM) may run on 0-15, recorded is 2\n  first reported at 20" in out
    assert " UTC\n  repair: taskset -pc 2 71\n" in out
    assert "the report leaves out more of the same: 101 foreign-process, 1 pool-part; pinfold audit on the host shows all" in out
    assert "✗ c1: 1,101 findings, 1 note\n  as its agent reported at 20" in out

    finds(c1, PART)
    status, out, _ = pinfold("host drift c1")
    assert status == 0
    assert "✓ c1: 0 findings, 1 note" in out


def test_the_history_of_a_host_is_shown_and_an_agent_that_is_away_is_said(
    fleet: Fleet, pinfold: Pinfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FRESH_SECONDS", 3600.0)  # the question below counts, however slow the machine is
    c1 = fleet.host("c1")
    with fleet.database.write() as connection:
        number = history.ask(connection, HostId(c1.id), 3600)
    assert answer(c1, number).status_code == 204
    status, out, err = pinfold("host history c1")
    assert (status, err) == (0, "")
    assert "c1: 00:16:30 to 00:18:30 UTC" in out and "pool overhead" in out
    assert json.loads(pinfold("host history c1 --minutes 1 --json")[1])["pools"][0]["work_millicpu"] == list(range(6, 12))
    c1.ask("DELETE", "/host")
    status, out, err = pinfold("host history c1")
    assert (status, out) == (ExitStatus.UNAVAILABLE, "")
    assert "host c1: its samples are with its agent, which is away" in " ".join(err.split())
    assert pinfold("host history c1 --from unix:/x")[0] == ExitStatus.BAD_INPUT
