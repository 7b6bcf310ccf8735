"""The cloud for whitebox-tempest-plugin: as tempest's, with an agent of its own process on a host of two cells, and ssh to that host.

whitebox reads domains by `virsh` and changes the agent's configuration by `crudini`, both by ssh and with `sudo`. The agent's
configuration has Nova's own options `cpu_shared_set` and `cpu_dedicated_set`, so nothing is translated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.real.fleet.conftest import QUICK
from tests.real.patience import until
from tests.rig.fleet import ACCOUNT, write_accounts
from tests.rig.keystone import Keystone
from tests.rig.keystone_stand_in import authtoken
from tests.rig.processes import Process, Service, configuration, ending
from tests.tempest.cloud import HERE, NETWORKS, Cloud, describe, keystone_and_lab, prepared, programs_of_tempest, roomy
from tests.tempest.results import WHITEBOX_VERSION

from pinfold.lab.daemon import LabHost

PACKAGES: Final = (f"whitebox-tempest-plugin=={WHITEBOX_VERSION}", "crudini==0.9.6", "six==1.17.0")
"""whitebox imports six and does not name it among its dependencies."""
_MODULES: Final = (
    "cpu_pinning",
    "cpu_model_extra_flags",
    "cpu_state_mgmt",
    "hugepages",
    "multiqueue",
    "virtio_rng",
    "vpmu",
    "vtpm",
    "watchdog_devices",
)
CHOSEN: Final = rf"whitebox_tempest_plugin\.api\.compute\.test_({'|'.join(_MODULES)})\."
"""The tests of whitebox that are run: those of processors, of memory, and of the hardware that pinfold gives a guest."""
EMULATED: Final = r"whitebox_tempest_plugin\.api\.compute\.test_uefi\."
"""Those that are run with emulated guests: not every KVM runs firmware for UEFI, or has a System Management Mode for secure boot."""
TOPOLOGY: Final = "pack:2 cell:1 core:4 pu:2 mem:16384"
SHARED: Final = "0-1,8-9"
DEDICATED: Final = "2-7,10-15"
_NO_PROCESSOR: Final = "cpu_mode = none"
_PROCESSOR: Final = "cpu_mode = custom\ncpu_models = pentium3\ncpu_model_extra_flags = +sse2, -mtrr"
"""A processor that KVM gives, a nested one too, with a feature more and one less."""
_HALTING: Final = b"\xfa\xf4\xeb\xfd".ljust(510, b"\x00") + b"\x55\xaa"
"""A boot sector of one endless loop: CLI, HLT, JMP to HLT."""
_DISK: Final = 1 << 16
_AGENT: Final = """#!/bin/sh
# The agent as a service manager would start and stop it.
case "$1" in
start)
    cd {folder}
    PYTHONPATH={sources} setsid {python} -m pinfold.wiring.command agent --config {config} >>agent.log 2>&1 </dev/null &
    echo $! >agent.pid ;;
stop)
    kill -TERM "$(cat {folder}/agent.pid)"
    while kill -0 "$(cat {folder}/agent.pid)" 2>/dev/null; do sleep 0.1; done ;;
esac
"""


@contextmanager
def emulated_whitebox(folder: Path, name: str) -> Iterator[Cloud]:
    """The same cloud with emulated guests, and libvirt's own processor."""
    with whitebox(folder, name, kvm=False) as made:
        yield made


@contextmanager
def whitebox(folder: Path, name: str, *, kvm: bool = True) -> Iterator[Cloud]:
    """The cloud, until the block ends. `name` is the beginning of the lab's name, and that of the host."""
    programs = programs_of_tempest(folder / "tempest-venv", *PACKAGES, given="PINFOLD_TEST_WHITEBOX")
    with (
        keystone_and_lab(folder, f"{name}-white", TOPOLOGY, kvm=kvm) as (keystone, lab),
        _api(folder, keystone) as api,
        _ssh(folder, programs, lab),
        _agent(folder, name, lab, api, _PROCESSOR if kvm else _NO_PROCESSOR) as agent,
    ):
        describe(keystone, api)
        (folder / "nodes.yaml").write_text(_nodes(name, agent, folder))
        text = (HERE / "whitebox.conf").read_text(encoding="utf-8")
        yield prepared(folder, keystone, api, programs, text.replace("{folder}", str(folder)).replace("{host}", name))


def _write_images(images: Path) -> None:
    """Two images: disks whose boot sector halts. A ROM would take the place of UEFI, which some tests ask for."""
    images.mkdir(mode=0o755)
    for number, image in enumerate(("probe.raw", "probe-alt.raw")):
        (images / image).write_bytes(_HALTING + bytes([number]) * (_DISK - len(_HALTING)))


@contextmanager
def _api(folder: Path, keystone: Keystone) -> Iterator[Service]:
    state, config = folder / "api", folder / "api.conf"
    state.mkdir(mode=0o711)
    _write_images(state / "images")
    (state / "images" / "probe.toml").write_text('hw_rng_model = "virtio"\n')  # as devstack's images have it
    write_accounts(folder)
    config.write_text(
        f"[DEFAULT]\ncpu_allocation_ratio = 16\n[pinfold]\nstate_dir = {state}\n"
        f"[pinfold_database]\nconnection = sqlite:///{state}/pinfold.db\n"
        f"[pinfold_placement]\nembedded_connection = sqlite:///{state}/placement.db\n"
        f"[pinfold_api]\nport = 0\n{QUICK}\nauth = keystone\naccounts_file = {folder}/accounts\n[api]\nenable_instance_password = false\n"
        + authtoken(keystone.url)
    )
    process = Process(("api", "--config", str(config)), folder, "api")
    with ending(process):
        process.start()
        yield Service(process.told["url"], ACCOUNT)


@contextmanager
def _agent(folder: Path, name: str, lab: LabHost, api: Service, processor: str) -> Iterator[Path]:
    """The command that starts and stops the agent, which runs until the block ends."""
    state, config, command = folder / "agent", folder / "agent.conf", folder / "bin" / "agent-service"
    state.mkdir(mode=0o711)
    token = api.ask("POST", "/v1/hosts", {"name": name})["token"]
    with os.fdopen(os.open(state / "agent.token", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(token)
    (folder / "networks.toml").write_text(NETWORKS)
    more = {"pinfold_agent": f"api_url = {api.url}\nsweep_seconds = 1"}
    text = roomy(configuration(lab, state, host=name, shared=SHARED, dedicated=DEDICATED, **more))
    config.write_text(text.replace(_NO_PROCESSOR, processor))
    sources = os.pathsep.join(entry for entry in sys.path if entry)
    command.write_text(_AGENT.format(folder=folder, sources=sources, python=sys.executable, config=config))
    command.chmod(0o755)
    try:
        subprocess.run([str(command), "start"], check=True)
        api.await_host(name, up=True)
        yield command
    finally:
        with suppress(FileNotFoundError):
            subprocess.run([str(command), "stop"], check=False, timeout=60)


@contextmanager
def _ssh(folder: Path, programs: Path, lab: LabHost) -> Iterator[None]:
    """An ssh server that runs commands on the lab host, until the block ends."""
    bin_dir = folder / "bin"
    bin_dir.mkdir(mode=0o755)
    sudo = bin_dir / "sudo"
    sudo.write_text('#!/bin/sh\n# The tests run as root.\nexec "$@"\n')
    sudo.chmod(0o755)
    command = [str(programs / "python"), str(HERE / "ssh_server.py"), str(folder)]
    with (folder / "ssh.log").open("w+") as log:
        environment = {**os.environ, "LIBVIRT_DEFAULT_URI": lab.uri}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            until(lambda: "ready" in (folder / "ssh.log").read_text() or process.poll() is not None, "the ssh server listens")
            assert process.poll() is None, (folder / "ssh.log").read_text()
            yield
        finally:
            process.kill()
            process.wait()


def _nodes(name: str, agent: Path, folder: Path) -> str:
    """What whitebox knows of the host."""
    return f"""{name}:
  services:
    libvirt:
      container_name: ''
    nova-compute:
      config_path: {folder}/agent.conf
      start_command: '{agent} start'
      stop_command: '{agent} stop'
  cpu_shared_set: '{SHARED}'
  cpu_dedicated_set: '{DEDICATED}'
"""
