"""A service and an agent of an earlier commit are upgraded below a running guest: first the API, then the agent."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.real.patience import until
from tests.rig.client import SHARE
from tests.rig.fleet import ACCOUNT, CLAIM_SECONDS, LEASE_SECONDS, sweep, write_accounts
from tests.rig.processes import Domain, Process, Service, configuration, domains, ending, virsh

from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

ROOT = Path(__file__).parents[3]
EARLIER = "a6496e5"
_KEPT = ("pinfold.sqlite", "placement.sqlite", "state/agent.memory")


@dataclass
class Upgrade:
    """One host with an API and an agent, each of either version; `earlier` are the sources of the earlier one."""

    lab: LabHost
    folder: Path
    host: str
    port: int
    earlier: Path

    @property
    def service(self) -> Service:
        """The API as a client sees it."""
        return Service(f"http://127.0.0.1:{self.port}", ACCOUNT)

    def process(self, command: str, *, earlier: bool) -> Process:
        """The API or the agent."""
        name = f"{'earlier' if earlier else 'new'}-{command}"
        made = Process((command, "--config", str(self.folder / f"{command}.conf")), self.folder, name)
        made.sources = str(self.earlier) if earlier else ""
        return made

    def back_up(self) -> None:
        """Copy what the upgrade page says: the databases, and the agent's memory."""
        for path in _KEPT:
            _copy(self.folder / path, self.folder / f"{path}.before")

    def restore(self) -> None:
        """Put the copies back."""
        for path in _KEPT:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.folder / path}{suffix}").unlink(missing_ok=True)
            _copy(self.folder / f"{path}.before", self.folder / path)

    def record(self, server: str) -> str:
        """The metadata in a guest's running definition."""
        metadata = virsh(self.lab, "dumpxml", server).partition("<metadata")[2]
        return metadata.partition("</metadata>")[0]


def _copy(source: Path, target: Path) -> None:
    if "sqlite" not in source.name:
        shutil.copy2(source, target)
        return
    with contextlib.closing(sqlite3.connect(source)) as read, contextlib.closing(sqlite3.connect(target)) as written:
        read.backup(written)


@pytest.fixture
def upgrade(fleet_lab: LabHost, lab_name: str, tmp_path: Path) -> Iterator[Upgrade]:
    archive = subprocess.run(["git", "archive", EARLIER, "src"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"commit {EARLIER} is not in this clone")
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    subprocess.run(["tar", "-x", "-C", str(earlier)], input=archive.stdout, check=True)
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o711)
    images, state, port = tmp_path / "images", tmp_path / "state", free_port()
    for made in (images, state, tmp_path / "api"):
        made.mkdir(mode=0o711)
    rom.write(images / "probe.rom")
    write_accounts(tmp_path)
    api = f"port = {port}\nlease_seconds = {LEASE_SECONDS}\nheal_seconds = 1\nclaim_seconds = {CLAIM_SECONDS}\n"
    api += f"accounts_file = {tmp_path}/accounts\n"
    (tmp_path / "api.conf").write_text(
        f"[pinfold]\nstate_dir = {tmp_path}/api\nimages_dir = {images}\n"
        f"[pinfold_database]\nconnection = sqlite:///{tmp_path}/pinfold.sqlite\n"
        f"[pinfold_placement]\nembedded_connection = sqlite:///{tmp_path}/placement.sqlite\n[pinfold_api]\n{api}"
    )
    host = f"{lab_name}-u"
    agent = f"api_url = http://127.0.0.1:{port}\nsweep_seconds = 1"
    (tmp_path / "agent.conf").write_text(configuration(fleet_lab, state, host=host, pinfold_agent=agent))
    yield Upgrade(lab=fleet_lab, folder=tmp_path, host=host, port=port, earlier=earlier / "src")
    sweep(fleet_lab)


def test_a_guest_runs_on_while_first_the_api_and_then_the_agent_is_upgraded_and_both_go_back(upgrade: Upgrade) -> None:
    old_api, new_api = (upgrade.process("api", earlier=earlier) for earlier in (True, False))
    old_agent, new_agent = (upgrade.process("agent", earlier=earlier) for earlier in (True, False))
    with ending(old_api, new_api, old_agent, new_agent):
        old_api.start()
        service = upgrade.service
        token = upgrade.folder / "state" / "agent.token"
        token.touch(mode=0o600)
        token.write_text(service.ask("POST", "/v1/hosts", {"name": upgrade.host})["token"])
        old_agent.start()
        service.await_host(upgrade.host, up=True)
        service.flavor("f", **SHARE)
        kept, off = service.create("kept", "f"), service.create("off", "f")
        for server in (kept, off):
            service.await_status(server, "ACTIVE")
        service.act(off, "os-stop")
        service.await_status(off, "SHUTOFF")
        runs = domains(upgrade.lab)[kept]
        assert "claim" not in upgrade.record(kept)

        assert old_agent.end() == 0
        new_agent.start(wait=False)
        until(lambda: "upgrade the service before its agents" in new_agent.errors(), "a new agent refuses the earlier service")
        new_agent.kill()
        old_agent.start()
        service.await_host(upgrade.host, up=True)
        old_api.end()
        upgrade.back_up()

        new_api.start()
        _goes_on(upgrade, service, kept, runs)
        later = service.create("later", "f")
        service.await_status(later, "ACTIVE")
        service.act(later, "os-stop")
        service.await_status(later, "SHUTOFF")
        service.act(later, "os-start")
        service.await_status(later, "ACTIVE")
        assert "claim" not in upgrade.record(later), "the agent is still the earlier one"

        assert old_agent.end() == 0
        new_agent.start()
        _goes_on(upgrade, service, kept, runs)
        for server in (kept, later, off):
            claim = service.placement(server)["claim"]["id"]
            until(lambda server=server, claim=claim: claim in upgrade.record(server), f"the record of {server} names its claim")
        service.act(off, "os-start")
        service.await_status(off, "ACTIVE")
        _goes_on(upgrade, service, kept, runs)
        service.delete_others((kept, off))

        assert new_agent.end() == 0
        new_api.end()
        upgrade.restore()
        old_api.start()
        old_agent.start()
        _goes_on(upgrade, service, kept, runs)
        service.delete_others()
        # A server is left out of the list before its allocation is gone.
        until(lambda: service.allocations(upgrade.host) == {} and not domains(upgrade.lab), "nothing is left of the servers")


def _goes_on(upgrade: Upgrade, service: Service, server: str, runs: Domain) -> None:
    """The server's process is the one of before, and the service says that it runs, by a report that came since."""
    service.await_host(upgrade.host, up=True)
    service.await_status(server, "ACTIVE")
    assert domains(upgrade.lab)[server] == runs and runs.alive
