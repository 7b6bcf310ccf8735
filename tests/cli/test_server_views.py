"""What `pinfold server` prints of refusals."""

from __future__ import annotations

import pytest
from rich.console import Console

from pinfold.cli.views.servers import server_view

SERVER = {
    "id": "1",
    "name": "vm",
    "status": "ERROR",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-STS:power_state": 1,
    "flavor": {"vcpus": 2, "ram": 64, "original_name": "wide"},
    "fault": {"message": "No host takes the guest: c07: ..."},
}


def test_a_thread_context_is_shown_without_a_verdict() -> None:
    context = {"tid": 7, "name": "TC tc-ram-node0", "thread_class": "thread-context", "allowed": "8-15", "recorded": "", "vcpu": None}
    observed = {"threads": [context], "drift": [], "witness": "procfs", "reported": 1795841504.0}
    console = Console(width=200)
    with console.capture() as captured:
        for line in server_view(SERVER, {"host": None, "claim": None, "observed": observed, "refusals": []}):
            console.print(line)
    assert "thread-context TC tc-ram-node0 7 8-15 by libvirt ·" in [" ".join(line.split()) for line in captured.get().splitlines()]


def test_a_thread_without_a_recorded_place_is_not_judged() -> None:
    emulator = {"tid": 7, "name": "qemu", "thread_class": "emulator", "allowed": "8-15", "recorded": "", "vcpu": None}
    observed = {"threads": [emulator], "drift": [], "witness": "procfs", "reported": 1795841504.0}
    console = Console(width=200)
    with console.capture() as captured:
        for line in server_view(SERVER, {"host": None, "claim": None, "observed": observed, "refusals": []}):
            console.print(line)
    assert "emulator qemu 7 8-15 nothing ·" in [" ".join(line.split()) for line in captured.get().splitlines()]


@pytest.mark.parametrize("running", [True, False])
def test_a_server_that_drifted_names_the_command_that_shows_its_repair(running: bool) -> None:
    emulator = {"tid": 7, "name": "qemu", "thread_class": "emulator", "allowed": "8-15", "recorded": "0", "vcpu": None}
    sentence = "guest instance-1: emulator thread 7 (qemu) may run on 8-15, recorded is 0"
    observed = {"threads": [emulator], "drift": [sentence], "witness": "procfs", "reported": 1795841504.0}
    placement = {"host": "c07", "host_up": True, "claim": None, "observed": observed, "refusals": []}
    console = Console(width=200)
    with console.capture() as captured:
        for line in server_view(SERVER | {"OS-EXT-STS:power_state": 1 if running else 4}, placement):
            console.print(line)
    hint = "  the commands that undo this: pinfold host drift c07"
    assert (hint in captured.get().splitlines()) is running
    assert (f"✗ {sentence}" in captured.get().splitlines()) is running


def test_a_refusal_names_the_revision_that_it_was_decided_on_and_a_failed_start_has_none() -> None:
    refusals = [
        {
            "host": "c07",
            "revision": 12,
            "reasons": [{"sentence": "cell 1 has 7 free dedicated pCPUs, 8 needed"}, {"sentence": "the host is down"}],
        },
        {"host": "c08", "revision": None, "sentence": "the start failed: QEMU ended"},
    ]
    console = Console(width=200)
    with console.capture() as captured:
        for line in server_view(SERVER, {"host": None, "claim": None, "observed": None, "refusals": refusals}):
            console.print(line)
    shown = [line.strip() for line in captured.get().splitlines()]
    assert shown[-5:] == [
        "c07, at revision 12",
        "cell 1 has 7 free dedicated pCPUs, 8 needed",
        "the host is down",
        "c08",
        "the start failed: QEMU ended",
    ]
