"""Records what an unmodified Nova makes of flavors: the whole domain XML that its compute service gives to libvirt.

It is run by hand, in an environment that has Nova and what Nova's own functional tests need, and writes `domains.jsonl` beside it:

    pip install nova==34.0.0 libvirt-python oslotest testtools fixtures testscenarios python-subunit wsgi-intercept gabbi \\
        openstack-placement requests-mock ddt
    python tests/nova/record.py

API, scheduler, conductor, Placement and compute are Nova's; the libvirt beneath is the stand-in that Nova's own functional tests use. The
first line of the file describes the hosts, every other line is one server that started; a flavor that Nova refused has none. The test that
reads it is `test_recorded_domains.py`.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import unittest
import uuid
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

OUTPUT = Path(__file__).with_name("domains.jsonl")
CELL_KIB = 8 * 1024 * 1024
HUGE_KIB = 2048
HUGE_PAGES = 1024
CORES_PER_CELL = 3
WAITS = 600

HOSTS: dict[str, dict[str, Any]] = {
    "shared set": {"threads": 2, "shared": "0,6", "dedicated": "1-5,7-11"},
    "no shared set": {"threads": 2, "shared": None, "dedicated": "1-5,7-11"},
    "shared set in one cell": {"threads": 2, "shared": "0-1", "dedicated": "2-5,6-11"},
    "no SMT": {"threads": 1, "shared": "0,3", "dedicated": "1-2,4-5"},
}
"""Each host has two cells, three cores a cell, and pools by Nova's names."""


def flavors() -> Iterator[tuple[int, dict[str, str]]]:
    """The flavors asked for: vCPUs and extra specs."""
    policies: tuple[dict[str, str], ...] = (
        {},
        {"hw:emulator_threads_policy": "share"},
        {"hw:emulator_threads_policy": "isolate"},
    )
    threads: tuple[dict[str, str], ...] = ({}, *({"hw:cpu_thread_policy": name} for name in ("prefer", "isolate", "require")))
    shapes: tuple[dict[str, str], ...] = (
        {},
        {"hw:numa_nodes": "2"},
        {"hw:mem_page_size": "large"},
        {"hw:numa_nodes": "2", "hw:mem_page_size": "2048"},
    )
    for vcpus, emulator, thread, shape in itertools.product((2, 4), policies, threads, shapes):
        yield vcpus, {"hw:cpu_policy": "dedicated", **emulator, **thread, **shape}
    for emulator, shape in itertools.product(policies, shapes):
        mask = "^0,^2" if "hw:numa_nodes" in shape else "^0-1"
        yield 4, {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": mask, **emulator, **shape}
    for emulator in policies:
        real = {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}
        yield 3, {"hw:cpu_policy": "dedicated", **real, **emulator}
    for shape in shapes:
        yield 2, {**shape}
        yield 2, {"hw:cpu_policy": "shared", **shape}


def main() -> int:
    """Record every flavor on every host. Returns the exit status."""
    program = unittest.TextTestRunner(stream=sys.stderr, verbosity=1)
    lines: list[dict[str, Any]] = [
        {
            "nova": version("nova"),
            "cell_kib": CELL_KIB,
            "huge_kib": HUGE_KIB,
            "huge_pages": HUGE_PAGES,
            "cores_per_cell": CORES_PER_CELL,
            "hosts": HOSTS,
        }
    ]
    for name in HOSTS:
        if not program.run(_recorder(name, lines)).wasSuccessful():
            return 1
        OUTPUT.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    print(f"{len(lines) - 1} servers recorded")
    return 0


def _recorder(name: str, lines: list[dict[str, Any]]) -> unittest.TestCase:  # noqa: C901  one class, made late
    from nova.tests.fixtures import libvirt as fakelibvirt
    from nova.tests.functional.libvirt.test_numa_servers import NUMAServersTestBase
    from nova.virt.libvirt.guest import Guest

    shape = HOSTS[name]

    class Recorder(NUMAServersTestBase):  # type: ignore[misc]
        ADDITIONAL_FILTERS = ["NUMATopologyFilter"]  # noqa: RUF012
        microversion = "latest"

        def runTest(self) -> None:  # noqa: N802
            self.flags(cpu_dedicated_set=shape["dedicated"], cpu_shared_set=shape["shared"], group="compute")
            self.flags(cpu_allocation_ratio=4.0)
            self.flags(instances=-1, cores=-1, ram=-1, group="quota")
            warnings.resetwarnings()
            warnings.simplefilter("ignore")  # Nova's tests make errors of the warnings of a newer SQLAlchemy
            pages = fakelibvirt.create_mempages([(4, CELL_KIB // 4), (HUGE_KIB, HUGE_PAGES)])
            info = fakelibvirt.HostInfo(
                cpu_nodes=2,
                cpu_sockets=1,
                cpu_cores=CORES_PER_CELL,
                cpu_threads=shape["threads"],
                kB_mem=2 * CELL_KIB,
                mempages=[pages, pages],
            )
            self.start_compute(host_info=info, hostname="compute1")
            for vcpus, specs in flavors():
                if xml := self._one(vcpus, specs):
                    lines.append({"host": name, "vcpus": vcpus, "memory_mib": 1024, "extra_specs": specs, "xml": xml})

        def _one(self, vcpus: int, specs: dict[str, str]) -> str:
            """The domain XML of one server, '' where Nova refuses it."""
            given: list[str] = []
            create = Guest.create.__func__  # type: ignore[attr-defined]

            def keep(cls: Any, xml: str, host: Any) -> Any:
                given.append(xml)
                return create(cls, xml, host)

            try:
                flavor = self._create_flavor(
                    vcpu=vcpus, memory_mb=1024, disk=1, ephemeral=0, extra_spec=specs, name=f"f-{uuid.uuid4().hex[:8]}"
                )
            except Exception:
                return ""
            with mock.patch.object(Guest, "create", classmethod(keep)):
                try:
                    server = self.api.post_server({"server": self._build_server(flavor_id=flavor, networks="none")})
                except Exception as error:
                    if '"code": 400' not in str(error):
                        raise
                    return ""
                for _ in range(WAITS):
                    server = self.api.get_server(server["id"])
                    if server["status"] != "BUILD":
                        break
                    time.sleep(0.05)
            state = server["status"]
            self._delete(server)
            return given[-1] if state == "ACTIVE" and given else ""

        def _delete(self, server: dict[str, Any]) -> None:
            """Nova's test API fails now and then when a delete meets a periodic task; the next try succeeds."""
            for _ in range(WAITS):
                try:
                    self._delete_server(server)
                except Exception:
                    time.sleep(0.05)
                else:
                    return

    return Recorder()


if __name__ == "__main__":
    sys.exit(main())
