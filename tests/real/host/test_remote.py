"""A libvirt on another machine may be looked at, and its word is called unverified. Here it is the lab's, by another name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.domains import virsh

from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt.connection import LibvirtDriver
from pinfold.host.audit import audit
from pinfold.host.repair import repair
from pinfold.host.start import start
from pinfold.host.stop import stop

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}


def test_a_remote_host_is_judged_by_its_word_and_never_changed(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    uri = bench.lab.uri.replace("qemu+unix:///", "qemu+unix://elsewhere/")
    driver, settings = LibvirtDriver(uri), replace(bench.settings, uri=uri)
    try:
        assert not driver.local
        judged = audit(driver, settings)
        assert not judged.verified
        assert [finding.sentence() for finding in judged.findings] == []
        assert judged.guests[0].sight is not None
        assert judged.guests[0].sight.witness == "hypervisor's word (unverified)"
        virsh(bench, "emulatorpin", "web", "1", "--live")
        codes = {finding.code.value for finding in audit(driver, settings).findings}
        assert codes == {"emulator-thread", "definition-pins"}
        assert all(finding.repair.startswith("virsh ") for finding in audit(driver, settings).findings)
        for act in (
            lambda: start(driver, settings, bench.order("db", SHARE)),
            lambda: stop(driver, settings, "web"),
            lambda: repair(driver, settings),
        ):
            with pytest.raises(InvalidRequest, match="is remote and read-only"):
                act()
    finally:
        driver.close()


def test_drift_is_repaired_by_ourselves_too(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    assert repair(bench.driver, bench.settings) == ()
    virsh(bench, "emulatorpin", "web", "1", "--live")
    virsh(bench, "vcpupin", "web", "0", "0", "--live", "--config")
    (done,) = repair(bench.driver, bench.settings)
    assert done.before.drift
    assert done.after.drift == ()
    assert repair(bench.driver, bench.settings, "web") == ()
