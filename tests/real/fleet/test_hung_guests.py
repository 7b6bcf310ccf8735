"""Guests whose QEMU does not answer hold up nobody: not their host, not its other guests, not their agent's end.

A signal stops their processes, which is how hung ones look to libvirt. Five at once is what makes one connection to libvirtd useless.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.fleet.liar import Victim
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.client import SHARE
from tests.rig.processes import domains

from pinfold.drivers.libvirt import state_files

HUNG = 5
END_SECONDS = 20.0
"""Twice what is promised, since this machine may be busy."""


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """The processes do nothing within the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_hung_guests_leave_their_host_up_and_its_other_guests_served(up: UpRig) -> None:
    flavor = up.api.flavor("f", **SHARE)
    hung = [up.api.create(f"hung{number}", flavor) for number in range(HUNG)]
    for server in hung:
        up.api.await_status(server, "ACTIVE")
    statuses: set[str] = set()

    def named() -> bool:
        statuses.update(server["status"] for server in up.api.servers())
        return all(f"instance-{server} hangs: libvirt has not answered its shutdown" in up.process.errors() for server in hung)

    with stopped([domains(up.lab)[server].pid for server in hung]):
        for server in hung:
            up.api.act(server, "os-stop")
        until(named, "the log names every guest that hangs")
        other = up.api.create("other", flavor)
        up.api.await_status(other, "ACTIVE")
        until(lambda: "stopped by a signal" in (up.api.placement(hung[0])["observed"] or {}).get("hangs", ""), "the service is told")
        show = ["server", "show", hung[0], "--config", up.process.arguments[-1]]
        shown = loaded.run("pinfold", show, loaded.importing() | {"COLUMNS": "300"})
        assert "✗ the guest hangs: libvirt has not answered its shutdown since" in shown.stdout, shown
        up.api.delete(other)
        named()
        assert "UNKNOWN" not in statuses and up.api.host(up.host)["up"] is True
    for server in hung:
        up.api.await_status(server, "SHUTOFF")
        until(lambda server=server: f"over: guest instance-{server} hangs" in up.process.errors(), "the log says that it answers again")  # type: ignore[misc]


def test_an_agent_whose_guests_hang_ends_soon_and_the_next_one_goes_on(victim: Victim, probe_rom: Path) -> None:
    liar, agent = victim.liar, victim.agent
    liar.image = probe_rom.read_bytes()
    orders = [liar.wanted("probe") for _ in range(HUNG)]
    liar.order(*orders)
    until(lambda: {order["guest"] for order in orders} <= set(domains(victim.lab)), "the guests run")
    until(lambda: all(liar.running(order["guest"]) for order in orders), "the agent says so")
    with stopped([domains(victim.lab)[order["guest"]].pid for order in orders]):
        liar.order(*({**order, "desired": "stopped"} for order in orders))
        until(lambda: all(f"{order['guest']} hangs" in agent.errors() for order in orders), "the agent says which guests hang")
        began = time.monotonic()
        assert agent.end() == 0
        assert time.monotonic() - began < END_SECONDS
        agent.start()
        until(lambda: all(f"{order['guest']} hangs" in agent.errors() for order in orders), "the next agent says which guests hang")
        until(lambda: any("hangs" in what for what in _story(victim, orders[0]["guest"])), "the story of a guest says that it hangs")
    told = _story(victim, orders[0]["guest"])
    assert told[0].startswith("the service orders: running, boot 1")
    assert [what for what in told if what.startswith("start")] == ["start begins", "start: done"]
    until(lambda: not domains(victim.lab), "the guests hear their shutdown")


def _story(victim: Victim, guest: str) -> list[str]:
    """What `pinfold agent story` tells of a guest."""
    words = ["agent", "story", guest, "--config", victim.agent.arguments[-1], "--json"]
    answer = loaded.run("pinfold", words, loaded.importing())
    answer.check_returncode()
    return [event["what"] for event in json.loads(answer.stdout)["events"]]


def test_an_agent_survives_a_hangup(victim: Victim) -> None:
    config = Path(victim.agent.arguments[-1])
    text = config.read_text()
    for seconds, sentence in (
        ("1", "SIGHUP: the configuration was read again; it is what this process runs with"),
        ("7", "[pinfold_agent] sweep_seconds was '1.0' and is '7.0'; start this process again to use it"),
        ("often", "SIGHUP: the configuration stays as it was, because what is in its files now is wrong: [pinfold_agent] sweep_seconds"),
    ):
        changed = text.replace("sweep_seconds = 1", f"sweep_seconds = {seconds}")
        config.write_text(changed)
        victim.agent.send(signal.SIGHUP)
        until(lambda sentence=sentence: sentence in victim.agent.errors(), "its log tells the difference")  # type: ignore[misc]
    heard = len(victim.liar.heard)
    until(lambda: len(victim.liar.heard) > heard, "it goes on")
    assert victim.agent.end() == 0


@pytest.mark.parametrize("hung", ["service", "libvirtd"])
def test_an_agent_ends_soon_whoever_hangs(victim: Victim, hung: str) -> None:
    if hung == "service":
        victim.liar.silent.set()
        time.sleep(3)  # by now it waits for the answer to a heartbeat
    daemon = state_files.daemon_pid(str(victim.lab.run_dir / "qemu"))
    assert daemon is not None
    with stopped([daemon] if hung == "libvirtd" else []):
        time.sleep(1)
        began = time.monotonic()
        assert victim.agent.end() == 0
        assert time.monotonic() - began < END_SECONDS
    victim.liar.silent.clear()
