"""A libvirt on another machine may be looked at, and its word is called unverified. Here it is the lab's, by another name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.domains import virsh

from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.host.audit import audit
from pinfold.host.repair import repair
from pinfold.host.start import place
from pinfold.host.stop import stop

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}


RELAY = """#!{python}
import os, selectors, socket
peer = socket.socket(socket.AF_UNIX)
peer.connect({path!r})
ways = selectors.DefaultSelector()
ways.register(0, selectors.EVENT_READ, lambda: peer.sendall(read) if (read := os.read(0, 65536)) else os._exit(0))
ways.register(peer, selectors.EVENT_READ, lambda: os.write(1, read) if (read := peer.recv(65536)) else os._exit(0))
while True:
    for key, _ in ways.select():
        key.data()
"""


def far_away(bench: Bench, folder: Path) -> str:
    """The URI of the lab's libvirt as a remote one: by a program that carries the bytes, as ssh would."""
    relay = folder / "relay"
    relay.write_text(RELAY.format(python=sys.executable, path=str(bench.lab.run_dir / "libvirt-sock")))
    relay.chmod(0o755)
    return f"qemu+ext://elsewhere/system?command={relay}"


def test_a_remote_host_is_judged_by_its_word_and_never_changed(bench: Bench, tmp_path: Path) -> None:
    bench.start(bench.order("web", SHARE))
    uri = far_away(bench, tmp_path)
    driver, settings = LibvirtDriver(uri), replace(bench.settings, uri=uri)
    try:
        assert not driver.local
        judged = audit(driver, settings)
        assert not judged.verified
        assert [finding.sentence() for finding in judged.findings] == []
        assert judged.guests[0].observation is not None
        assert judged.guests[0].observation.witness == "hypervisor's word (unverified)"
        virsh(bench, "emulatorpin", "web", "1", "--live")
        codes = {finding.code.value for finding in audit(driver, settings).findings}
        assert codes == {"definition-pins"}
        assert all(finding.repair.startswith("virsh ") for finding in audit(driver, settings).findings)
        for act in (
            lambda: place(driver, settings, bench.order("db", SHARE)),
            lambda: stop(driver, settings, "web"),
            lambda: repair(driver, settings),
        ):
            with pytest.raises(InvalidRequest, match="is remote and read-only"):
                act()
    finally:
        driver.close()


def test_drift_is_repaired_by_ourselves_too(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    assert repair(bench.driver, bench.settings).done == ()
    virsh(bench, "emulatorpin", "web", "1", "--live")
    virsh(bench, "vcpupin", "web", "0", "0", "--live", "--config")
    (done,) = repair(bench.driver, bench.settings).done
    assert done.before.drift
    assert done.after.drift == ()
    assert repair(bench.driver, bench.settings, "web").complete
