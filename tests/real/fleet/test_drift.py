"""What strays on a host is seen at `/v1/hosts/NAME/drift` within a sweep, and is gone after the printed command. procfs is the witness."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.real.fleet.conftest import QUICK, UpRig, service_of
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.processes import Process, configuration, domains, ending

from pinfold.lab.daemon import LabHost


@pytest.fixture
def own(lab_name: str, lab_possible: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[UpRig]:
    """`pinfold up` on a lab with the machine's own topology and no cgroups, which would hold threads in their places.

    The parameter is the agent's `repair`.
    """
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this needs a shared and a dedicated pCPU")
    kind = "KVM" if Path("/dev/kvm").exists() else "TCG"
    request.node.user_properties.append(("witness", f"{kind}, no cgroups, procfs"))
    state, config, name = tmp_path / "state", tmp_path / "pinfold.conf", f"{lab_name}-drift"
    for each in (tmp_path, tmp_path.parent):
        each.chmod(0o711)
    with LabHost(name, cgroups=False) as lab:
        agent = f"sweep_seconds = 1\nrepair = {getattr(request, 'param', 'off')}"
        text = configuration(lab, state, host=name, shared="0", dedicated="1", pinfold_api=QUICK, pinfold_agent=agent)
        config.write_text(text)
        process = Process(("up", "--port", str(free_port()), "--config", str(config)), tmp_path, "up")
        with ending(process):
            process.start()
            rig = UpRig(lab=lab, process=process, host=name, state=state, api=service_of(process, state))
            rig.api.await_host(name, up=True)
            yield rig
            rig.api.delete_others()


def drift(own: UpRig) -> dict[str, Any]:
    """What the host's agent found last."""
    found: dict[str, Any] = own.api.ask("GET", f"/v1/hosts/{own.host}/drift")
    return found


def about(own: UpRig, pid: int) -> dict[str, Any] | None:
    """The finding about a thread or process; others on this machine may be bound to the pCPU, too."""
    return next((one for one in drift(own)["findings"] if one["tid"] == pid), None)


def found(own: UpRig, pid: int) -> dict[str, Any]:
    """The finding about a thread or process, as soon as it is reported."""
    until(lambda: about(own, pid) is not None, f"{pid} is reported")
    one = about(own, pid)
    assert one is not None
    return one


def test_a_vcpu_and_a_process_that_stray_are_reported_until_the_printed_commands_have_run(own: UpRig) -> None:
    api = own.api
    server = api.create("vm", api.flavor("pin", vcpus=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share"))
    api.await_status(server, "ACTIVE")
    until(lambda: drift(own)["reported"] is not None, "the first audit is reported")
    (vcpu,) = domains(own.lab)[server].vcpus
    assert about(own, vcpu) is None
    assert same_maps(own) == {1: False}

    subprocess.run(["taskset", "-pc", "0", str(vcpu)], check=True, capture_output=True)
    found(own, vcpu)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": str(api.http.base_url).rstrip("/")}
    asked = api.http.post(f"/ui/guests/{server}/repair", content="", headers=form)
    assert asked.status_code == 303, asked.text
    until(lambda: os.sched_getaffinity(vcpu) == {1} and about(own, vcpu) is None, "the agent has moved the thread back, and says so")
    said = "repaired: moved, and read back in place; it is over that vCPU thread"
    until(lambda: said in api.http.get(f"/ui/guests/{server}").text, "the page of the guest says so")

    subprocess.run(["taskset", "-pc", "0", str(vcpu)], check=True, capture_output=True)
    stray = subprocess.Popen(["taskset", "-c", "1", "sleep", "3600"])
    try:
        strayed, bound = found(own, vcpu), found(own, stray.pid)
        assert same_maps(own) == {1: True}
        assert (strayed["code"], strayed["severity"], strayed["guest_id"]) == ("vcpu-thread", "drift", server)
        assert (strayed["thread_class"], strayed["recorded"], strayed["observed"]) == ("vcpu", "1", "0")
        assert (bound["code"], bound["sentence"]) == (
            "foreign-process",
            f"process {stray.pid} (sleep) is bound to the dedicated pCPU 1",
        )
        line = f'pinfold_findings{{code="vcpu-thread",host="{own.host}",severity="drift"}} 1.0'
        assert line in api.http.get("/metrics").text.splitlines()
        every = [one["finding"]["tid"] for one in api.ask("GET", "/v1/drift")["findings"] if one["host"] == own.host]
        assert {vcpu, stray.pid} <= set(every)
        shown = command(own, "host", "drift", own.host)
        assert shown.returncode == 1
        assert f"repair: {strayed['repair']}\n" in shown.stdout
        assert "\n  witness: procfs\n" in shown.stdout
        assert json.loads(command(own, "host", "drift", own.host, "--json").stdout)["witnesses"] == ["procfs"]
        (listed,) = json.loads(command(own, "server", "list", "--long", "--json").stdout)["servers"]
        (host,) = json.loads(command(own, "host", "list", "--json").stdout)["hosts"]
        assert listed["drift"] >= 1 and host["drift"] >= listed["drift"] + 1
        assert " drift " in command(own, "server", "list", "--long").stdout
        assert f"pinfold host drift {own.host}\n" in command(own, "server", "show", server).stdout
        until(lambda: f" has drifted: vCPU thread {vcpu} (" in story(own, server), "the story names the guest once")

        for finding in (strayed, bound):
            subprocess.run(["sh", "-c", finding["repair"]], check=True, capture_output=True)
        until(lambda: about(own, vcpu) is None and about(own, stray.pid) is None, "nothing strays any more")
        assert os.sched_getaffinity(vcpu) == {1}
    finally:
        stray.kill()
        stray.wait()


@pytest.mark.parametrize("own", ["ours"], indirect=True)
def test_an_agent_that_may_repair_moves_a_strayed_vcpu_back(own: UpRig) -> None:
    api = own.api
    server = api.create("vm", api.flavor("pin", vcpus=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share"))
    api.await_status(server, "ACTIVE")
    until(lambda: drift(own)["reported"] is not None, "the first audit is reported")
    (vcpu,) = domains(own.lab)[server].vcpus
    subprocess.run(["taskset", "-pc", "0", str(vcpu)], check=True, capture_output=True)
    until(lambda: os.sched_getaffinity(vcpu) == {1}, "the agent has moved the thread back")
    until(lambda: " was repaired, its threads are in their places; " in story(own, server), "the story says so")
    subprocess.run(["taskset", "-pc", "0", str(vcpu)], check=True, capture_output=True)
    until(lambda: ": somebody undid its repair" in story(own, server), "the agent sees that its repair was undone")
    counted = f'pinfold_repairs_total{{class="vcpu",host="{own.host}",result="undone"}} 1.0'
    until(lambda: counted in api.http.get("/metrics").text, "the service counts it")
    assert list(domains(own.lab)[server].vcpus) == [vcpu]  # the guest was not restarted


def same_maps(own: UpRig) -> dict[int, bool | None]:
    """Whether each owned pCPU's thread has drifted, on the one map that the host and the service draw."""
    configured = {"PINFOLD_CONFIG": own.process.arguments[-1]}
    here = json.loads(command(own, "host", "map", "--json", **configured).stdout)
    there = own.api.ask("GET", f"/v1/hosts/{own.host}/map")
    assert there.pop("revision") > here.pop("revision") == 0
    assert _of_guests(here) == _of_guests(there)
    cores = [core for cell in here["cells"] for core in cell["cores"]]
    return {pcpu["pcpu"]: owner["drifted"] for core in cores for pcpu in core["pcpus"] for owner in pcpu["owners"]}


def _of_guests(chart: Any) -> Any:
    """The map without the processes of this machine that stray: other tests start and end some between two looks."""
    if isinstance(chart, list):
        return [_of_guests(one) for one in chart]
    if not isinstance(chart, dict):
        return chart
    guests = {"strays": [one for one in chart["strays"] if one.get("who", one)["process"] is None]} if "strays" in chart else {}
    return {key: _of_guests(one) for key, one in (chart | guests).items() if key != "more_strays"}


def story(own: UpRig, server: str) -> str:
    """The story of a server's guest, unfolded."""
    configured = {"PINFOLD_CONFIG": own.process.arguments[-1]}
    return " ".join(command(own, "agent", "story", server, **configured).stdout.split())


def command(own: UpRig, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One command against the service."""
    environment = {**loaded.importing(), "OS_CLIENT_CONFIG_FILE": str(own.clouds), "OS_CLOUD": "pinfold", **variables}
    return loaded.run("pinfold", arguments, environment)


def test_the_last_minutes_of_a_host_are_fetched_from_its_agent(own: UpRig) -> None:
    api = own.api
    server = api.create("vm", api.flavor("pin", vcpus=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share"))
    api.await_status(server, "ACTIVE")

    def rows() -> list[dict[str, Any]]:
        found = api.ask("GET", f"/v1/hosts/{own.host}/history?minutes=60")["guests"]
        return [row for row in found if row["guest"] == server and any(number is not None for number in row["work_millicpu"])]

    assert {"vcpu", "emulator"} <= {row["thread_class"] for row in until(rows, "the agent has samples of the guest", pause=2.0)}
    until(lambda: "The last hour by pCPU" in api.http.get(f"/ui/hosts/{own.host}").text, "the page shows it too", pause=2.0)
    guest = api.http.get(f"/ui/guests/{server}")
    assert guest.status_code == 200
    assert "As seen by procfs" in guest.text
    assert "taskset" not in guest.text, "a guest in its place has nothing to repair"
