"""Lab hosts for the suites of this folder, and the service on them as real processes."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ports import free_port
from tests.postgres import PostgreSQL, binaries
from tests.real.fleet.liar import Liar, Victim
from tests.real.patience import until
from tests.rig.fleet import CLAIM_SECONDS, LEASE_SECONDS, Fleet, by, start_placement, sweep, write_accounts
from tests.rig.processes import Process, Service, configuration, defined, ending
from tests.rig.watch import Watch, settings_of
from tests.survive.clock import WallClock
from tests.survive.proxy import FaultProxy

from pinfold.core.hosttext import host
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import SYNTHETIC

TOPOLOGY = "pack:2 core:8 pu:2 mem:16384"
QUICK = f"lease_seconds = {LEASE_SECONDS}\nheal_seconds = 1\nclaim_seconds = {CLAIM_SECONDS}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here has a real Placement beside its lab."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.real_placement)
            if "fleet" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.real_postgresql)


@pytest.fixture(autouse=True)
def _witness_of_fleets(request: pytest.FixtureRequest, lab_possible: None) -> None:
    """Say which witness a test on a fleet had."""
    if {"up", "fleet", "crowd", "clocked", "victim", "upgrade", "connected"} & set(request.fixturenames):
        kind = "KVM" if Path("/dev/kvm").exists() else "TCG"
        request.node.user_properties.append(("witness", f"{kind}, no cgroups, {SYNTHETIC}"))


@dataclass
class UpRig:
    """`pinfold up` on one lab host. Its port stays the same, however often it is started."""

    lab: LabHost
    process: Process
    host: str
    state: Path
    api: Service

    def start(self, **options: str) -> None:
        """Start it (again), ask it at its new address, and wait until its host is up."""
        self.process.start(**options)
        self.start_asking()
        self.api.await_host(self.host, up=True)

    def set_lease(self, seconds: float) -> None:
        """From its next start on, its host is down after so much silence."""
        config = Path(self.process.arguments[-1])
        text, count = re.subn(r"lease_seconds = .*", f"lease_seconds = {seconds}", config.read_text())
        assert count == 1, text
        config.write_text(text)

    def start_asking(self) -> None:
        """Ask the process that runs now."""
        self.api = service_of(self.process, self.state)

    def restart(self, **options: str) -> None:
        """End it in order, and start it again."""
        assert self.process.end() == 0, self.process.errors()
        self.start(**options)

    @property
    def clouds(self) -> Path:
        """The configuration that it wrote for OpenStack clients."""
        return self.state / "clouds.yaml"

    def judge_settings(self) -> dict[str, Any]:
        """What a judge has to know of it."""
        user, password = self.api.account
        placement = {"url": f"{self.process.told['url']}/placement", "user": user, "password": password}
        return settings_of(f"sqlite:///{self.state}/pinfold.sqlite", placement, [(self.host, self.lab, self.state)])


def service_of(process: Process, state: Path) -> Service:
    """The API that a running `pinfold up` told of."""
    cloud = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"]["pinfold"]
    return Service(process.told["url"], (cloud["auth"]["username"], cloud["auth"]["password"]), trusted=cloud.get("cacert", ""))


@pytest.fixture(scope="module")
def fleet_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One synthetic lab host for the tests of a module."""
    with LabHost(f"{lab_name}-up", topology=host(TOPOLOGY)) as lab:
        yield lab


@contextlib.contextmanager
def running_up(lab: LabHost, folder: Path, name: str, **groups: str) -> Iterator[UpRig]:
    """`pinfold up` on SQLite with these groups in its configuration; its guests are gone afterwards."""
    state, config = folder / "state", folder / "pinfold.conf"
    for each in (folder, folder.parent):
        each.chmod(0o711)
    config.write_text(configuration(lab, state, host=name, pinfold_api=QUICK, pinfold_agent="sweep_seconds = 1", **groups))
    process = Process(("up", "--port", str(free_port()), "--config", str(config)), folder, "up")
    with ending(process):
        process.start()
        made = UpRig(lab=lab, process=process, host=name, state=state, api=service_of(process, state))
        made.api.await_host(name, up=True)
        yield made
    sweep(lab)


@pytest.fixture(scope="module")
def up_once(fleet_lab: LabHost, lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRig]:
    """`pinfold up` on SQLite, for the tests of a module."""
    with running_up(fleet_lab, tmp_path_factory.mktemp("up"), f"{lab_name}-a") as made:
        yield made


@pytest.fixture
def up(up_once: UpRig, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UpRig]:
    """The same, running, with no server on it before and after. A judge watches, but for tests that break a promise on purpose."""
    watch = Watch(tmp_path, up_once.judge_settings)
    with contextlib.ExitStack() as stack:
        if request.node.get_closest_marker("unwatched") is None:
            watch.start(stack)
        yield up_once
        up_once.lab.start_daemon()
        if not up_once.process.running:
            up_once.start()
        up_once.start_asking()
        if request.node.get_closest_marker("unwatched") is None:
            watch.verdict()
        up_once.api.await_host(up_once.host, up=True)
        up_once.api.delete_others()
        until(lambda: not defined(up_once.lab), "no domain is left")
        watch.await_rest()


@pytest.fixture(scope="session")
def probe_rom(tmp_path_factory: pytest.TempPathFactory, lab_possible: None) -> Path:
    """The image that the tests' guests boot."""
    return rom.write(tmp_path_factory.mktemp("images") / "probe.rom")


@pytest.fixture(scope="module")
def fleet(lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory, probe_rom: Path) -> Iterator[Fleet]:
    """PostgreSQL, a Placement of its own behind a proxy, two API processes, and two lab hosts with an agent each."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with make_fleet(tmp_path_factory.mktemp("fleet"), lab_name, probe_rom, hosts=2, apart=True) as made:
        made.watch()
        yield made


@contextlib.contextmanager
def make_fleet(
    folder: Path,
    lab_name: str,
    image: Path,
    *,
    hosts: int,
    apart: bool,
    apis: int = 2,
    sqlite: bool = False,
    clocks: bool = False,
    consoles: bool = False,
) -> Iterator[Fleet]:
    """A fleet; `apart` gives it a Placement of its own behind a proxy, in place of an embedded one in each API process.

    `clocks` gives the service (the API processes and the database) and the hosts (agents and libvirtd) a wall clock each, that can jump.
    """
    for each in (folder, folder.parent):
        each.chmod(0o711)
    (folder / "images").mkdir()
    shutil.copy(image, folder / "images")
    write_accounts(folder)
    with contextlib.ExitStack() as stack:
        service_clock, host_clock = (stack.enter_context(_clock()) if clocks else None for _ in range(2))
        server = None
        if sqlite:
            databases = [f"sqlite:///{folder}/pinfold.sqlite", f"sqlite:///{folder}/placement.sqlite"]
        else:
            server = PostgreSQL.start(environment=by(service_clock))
            stack.callback(server.stop)
            databases = [server.create_database(), server.create_database()]
        labs = [LabHost(f"{lab_name}-f{number}", topology=host(TOPOLOGY)) for number in range(hosts)]
        with pytest.MonkeyPatch.context() as patch:
            for key, value in by(host_clock).items():
                patch.setenv(key, value)
            for lab in labs:
                stack.enter_context(lab)
        url = start_placement(folder, databases[1], stack) if apart else ""
        proxy = stack.enter_context(FaultProxy(url)) if apart else None
        made = Fleet(
            folder=folder,
            database=databases[0],
            embedded=databases[1],
            postgresql=server,
            placement=proxy,
            placement_url=url,
            stack=stack,
            service_clock=service_clock,
            host_clock=host_clock,
            consoles=consoles,
        )
        for number in range(apis):
            made.apis.append(made.add_api(f"api{number}", wait=False))
        for process in made.apis:
            process.await_ready()
        for number, lab in enumerate(labs):
            made.add_host(f"{lab_name}-h{number}", lab)
        yield made


@contextlib.contextmanager
def _clock() -> Iterator[WallClock]:
    """A wall clock in a folder that PostgreSQL's user may read, too: pytest's own are for root alone."""
    with tempfile.TemporaryDirectory(prefix="pf-clock-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield WallClock(Path(folder))


@pytest.fixture
def victim(fleet_lab: LabHost, lab_name: str, tmp_path: Path) -> Iterator[Victim]:
    """A real agent that has said hello to a liar."""
    for each in (tmp_path, tmp_path.parent):
        each.chmod(0o711)
    state = tmp_path / "state"
    state.mkdir(mode=0o711)
    token = state / "agent.token"
    token.touch(mode=0o600)
    token.write_text("anything")
    liar = Liar()
    threading.Thread(target=liar.server.serve_forever, daemon=True).start()
    config = tmp_path / "agent.conf"
    config.write_text(configuration(fleet_lab, state, host=f"{lab_name}-v", pinfold_agent=f"api_url = {liar.url}\nsweep_seconds = 1"))
    agent = Process(("agent", "--config", str(config)), tmp_path, "agent")
    with ending(agent):
        agent.start()
        until(lambda: liar.hello, "the agent says hello")
        yield Victim(liar=liar, agent=agent, lab=fleet_lab, state=state)
    liar.server.shutdown()
    liar.server.server_close()
    sweep(fleet_lab)
