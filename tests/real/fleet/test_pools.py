"""`pinfold up` under changes of its pools: a SIGHUP moves the threads of running servers, and no start depends on where guests are.

The lab's records are the witness.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.fleet.test_up import asked, recorded, running
from tests.real.patience import until
from tests.rig.client import SHARE

pytestmark = pytest.mark.unwatched
"""The judge compares every claim with every domain at one instant; here threads are on their way for a moment."""


@pytest.fixture(autouse=True)
def _same_pools(up: UpRig) -> Iterator[None]:
    """The pools of before, for the next test."""
    config = Path(up.process.arguments[-1])
    before = config.read_text()
    yield
    up.api.delete_others()
    config.write_text(before)
    up.process.send(signal.SIGHUP)


def pools(up: UpRig, shared: str, dedicated: str) -> None:
    """Other pools in the file, and a SIGHUP."""
    config = Path(up.process.arguments[-1])
    text = re.sub(r"cpu_shared_set = .*", f"cpu_shared_set = {shared}", config.read_text())
    config.write_text(re.sub(r"cpu_dedicated_set = .*", f"cpu_dedicated_set = {dedicated}", text))
    up.process.send(signal.SIGHUP)


def test_a_hangup_moves_the_threads_of_running_servers_and_their_accounts(up: UpRig) -> None:
    api = up.api
    share, floats = api.create("vm", api.flavor("share", vcpus=2, **SHARE)), api.create("vm", api.flavor("free", vcpus=2))
    for server in (share, floats):
        api.await_status(server, "ACTIVE")
    before = {server: running(up, server) for server in (share, floats)}
    pins, claim = asked(up, before[share])[0], api.placement(share)["claim"]
    assert claim["fit"]["emulator"] == "0-1,16-17"
    for shared, dedicated in (("0-1", "2-31"), ("14-15", "0-13,16-31"), ("0-3,30", "4-29,31"), ("0-1,16-17", "2-15,18-31")):
        pools(up, shared, dedicated)
        until(lambda shared=shared: asked(up, running(up, share)) == (pins, shared), f"its threads are on {shared}")  # type: ignore[misc]
        until(lambda shared=shared: asked(up, running(up, floats)) == ([shared] * 2, shared), f"it floats over {shared}")  # type: ignore[misc]
        assert recorded(up, share)["emulator"] == shared
        until(lambda: all(api.placement(one)["observed"]["drift"] == [] for one in before), "the agent sees no drift")
    assert {server: running(up, server) for server in before} == before, "nobody was started again"
    now = api.placement(share)["claim"]
    assert now["id"] == claim["id"] and now["revision"] > claim["revision"]
    assert "[compute] cpu_shared_set was '0-1,16-17' and is '0-1'" in up.process.errors()
    assert api.allocations(up.host)[share] == {"PCPU": 2, "MEMORY_MB": 64, "CUSTOM_OVERHEAD_MILLICPU": 24}


def test_a_server_keeps_retiring_pcpus_and_no_start_refuses_over_it(up: UpRig) -> None:
    api = up.api
    flavor = api.flavor("share", vcpus=2, **SHARE)
    server = api.create("vm", flavor)
    api.await_status(server, "ACTIVE")
    guest = running(up, server)
    pins = asked(up, guest)[0]
    pools(up, "16-17", "20-31")
    until(lambda: asked(up, running(up, server)) == (pins, "16-17"), "its overhead threads follow, its vCPUs stay")
    up.restart()
    api = up.api
    api.await_status(server, "ACTIVE")
    assert running(up, server) == guest and guest.alive
    other = api.create("vm", flavor)
    api.await_status(other, "ACTIVE")
    assert set(asked(up, running(up, other))[0]).isdisjoint(pins) and recorded(up, other)["emulator"] == "16-17"


def test_pools_that_the_host_cannot_have_change_nothing(up: UpRig) -> None:
    pools(up, "0-1,16-17", "2-15,900")
    until(lambda: "cpu_dedicated_set names pCPU 900, which this host does not have" in up.process.errors(), "its log says why")
    assert "the configuration stays as it was" in up.process.errors()
    server = up.api.create("vm", up.api.flavor("share", vcpus=2, **SHARE))
    up.api.await_status(server, "ACTIVE")
    assert recorded(up, server)["emulator"] == "0-1,16-17"


def test_pools_ordered_by_the_service_move_running_servers_and_outlast_a_restart(up: UpRig) -> None:
    """`pinfold host order-pools`, as an administrator types it."""
    api = up.api
    server = api.create("vm", api.flavor("share", vcpus=2, **SHARE))
    api.await_status(server, "ACTIVE")
    guest, pins = running(up, server), asked(up, running(up, server))[0]
    url = f"/v1/hosts/{up.host}/pools"
    answer = api.http.put(url, json={"shared": "14-15", "dedicated": "0-13,16-31", "overhead": None})
    assert answer.status_code == 200, answer.text
    until(lambda: asked(up, running(up, server)) == (pins, "14-15"), "its threads follow the order")
    until(lambda: api.http.get(url).json()["used"]["shared"] == "14-15", "the service sees it")
    up.restart()
    api = up.api
    api.await_status(server, "ACTIVE")
    assert running(up, server) == guest and guest.alive
    assert api.http.get(url).json()["used"]["shared"] == "14-15"
    assert api.http.delete(url).status_code == 200
    until(lambda: asked(up, running(up, server)) == (pins, "0-1,16-17"), "the pools of its own files again")
