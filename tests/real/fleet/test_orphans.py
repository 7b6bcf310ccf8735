"""`pinfold guest orphans` on a host whose service has lost its database."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.real.fleet.conftest import UpRig
from tests.real.fleet.liar import Victim
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.processes import defined, domains


def orphans(victim: Victim, *options: str) -> subprocess.CompletedProcess[str]:
    return loaded.run(
        "pinfold", ["guest", "orphans", *options, "--config", victim.agent.arguments[-1]], loaded.importing() | {"COLUMNS": "300"}
    )


def test_what_a_service_has_forgotten_is_listed_and_removed_and_nothing_else(victim: Victim, probe_rom: Path) -> None:
    liar = victim.liar
    liar.image = probe_rom.read_bytes()
    orders: list[dict[str, Any]] = [liar.wanted("probe") for _ in range(4)]
    kept, plain, wiped, last = (order["guest"] for order in orders)
    liar.order(*orders)
    until(lambda: {kept, plain, wiped, last} <= set(domains(victim.lab)), "the guests run")
    until(lambda: all(liar.running(order["guest"]) for order in orders), "the agent says so")
    folder = overlays(victim)
    for guest in (plain, wiped):
        (folder / f"{guest}.qcow2").write_bytes(b"precious")

    assert orphans(victim).stdout.startswith("no orphans")
    liar.order(orders[0], orders[2], orders[3])
    listed = json.loads(orphans(victim, "--json").stdout)
    assert [row["guest"]["id"] for row in listed["orphans"]] == [plain] and listed["removed"] is False
    assert plain in domains(victim.lab), "a list changes nothing"
    done = orphans(victim, "--remove")
    assert done.returncode == 0 and "their disks are where they were" in done.stdout, done
    assert defined(victim.lab) == {kept, wiped, last}
    assert (folder / f"{plain}.qcow2").read_bytes() == b"precious"

    liar.polled = liar.orders
    liar.order(orders[0], orders[3])
    assert orphans(victim, "--remove", "--delete-files").returncode == 0
    asked = times_read(victim)
    until(lambda: times_read(victim) > asked, "the agent, which has not heard of it, misses the guest and reads the orders anew")
    liar.polled = None
    assert defined(victim.lab) == {kept, last}
    assert not (folder / f"{wiped}.qcow2").exists() and not (victim.state / f"serial/{wiped}.log").exists()
    assert (victim.state / f"serial/{kept}.log").exists()
    assert victim.agent.running

    liar.server.shutdown()
    liar.server.server_close()
    away = orphans(victim, "--remove")
    assert away.returncode != 0 and "the service cannot be asked which guests it knows" in away.stderr, away
    held = orphans(victim, "--remove", "--service-is-gone")
    assert held.returncode != 0 and "is the agent of" in held.stderr, held
    assert defined(victim.lab) == {kept, last}
    victim.agent.end()
    gone = orphans(victim, "--remove", "--service-is-gone")
    assert gone.returncode == 0, gone
    assert defined(victim.lab) == set()


def times_read(victim: Victim) -> int:
    """How often the orders were read, not polled."""
    return sum("/orders?after=-1" in path for _, path, _ in victim.liar.heard)


def overlays(victim: Victim) -> Path:
    """The folder of the host's overlays, made where it is missing."""
    from pinfold.config import load
    from pinfold.host import disk

    settings = load([victim.agent.arguments[-1]]).settings
    folder = disk.overlay_path(settings, "11111111-2222-4333-8444-555555555555").parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_beside_pinfold_up_the_service_is_found_by_itself(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", hw_cpu_policy="dedicated"))
    up.api.await_status(server, "ACTIVE")
    words = ["guest", "orphans", "--remove", "--config", up.process.arguments[-1]]
    done = loaded.run("pinfold", words, loaded.importing() | {"COLUMNS": "300"})
    assert done.returncode == 0 and done.stdout.startswith("no orphans"), done
    assert server in domains(up.lab)
