"""Lets an unmodified Nova account overhead by a provider configuration file, and writes what it did as JSON.

`python account.py FOLDER RESULT`, in an environment that has Nova and what Nova's own functional tests need. FOLDER holds the files that
`pinfold nova provider-config` wrote, and `specs.json`, what `pinfold nova flavors` sets. API, scheduler, conductor, Placement and compute
are Nova's; the libvirt beneath is the stand-in that Nova's own functional tests use. `test_unmodified_nova.py` runs it and judges.
"""

from __future__ import annotations

import json
import sys
import time
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

CELL_KIB = 8 * 1024 * 1024
SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
CLASS = "CUSTOM_OVERHEAD_MILLICPU"
HOST, OTHER, WITHOUT = "compute1", "compute2", "compute3"
WAITS = 600


def main() -> int:
    """Load the files, then run the cloud. Returns the exit status."""
    folder, result = Path(sys.argv[1]), Path(sys.argv[2])
    from nova.compute.provider_config import get_provider_configs

    found: dict[str, Any] = {"loaded": get_provider_configs(str(folder))}
    done = unittest.TextTestRunner(stream=sys.stderr, verbosity=1).run(_cloud(folder, found))
    result.write_text(json.dumps(found, indent=1, sort_keys=True))
    return 0 if done.wasSuccessful() else 1


def _cloud(folder: Path, found: dict[str, Any]) -> unittest.TestCase:  # noqa: C901  one class, made late
    from nova.tests.fixtures import UnifiedLimitsFixture
    from nova.tests.fixtures import libvirt as fakelibvirt
    from nova.tests.functional.api import client
    from nova.tests.functional.libvirt.test_numa_servers import NUMAServersTestBase

    class Cloud(NUMAServersTestBase):  # type: ignore[misc]
        ADDITIONAL_FILTERS = ["NUMATopologyFilter"]  # noqa: RUF012
        microversion = "latest"

        def runTest(self) -> None:  # noqa: N802
            self.flags(cpu_dedicated_set="1-11", cpu_shared_set="0", provider_config_location=str(folder), group="compute")
            self.flags(instances=-1, cores=-1, ram=-1, group="quota")
            warnings.resetwarnings()
            warnings.simplefilter("ignore")  # Nova's tests make errors of the warnings of a newer SQLAlchemy
            info = fakelibvirt.HostInfo(cpu_nodes=2, cpu_sockets=1, cpu_cores=3, cpu_threads=2, kB_mem=2 * CELL_KIB)
            self.start_compute(host_info=info, hostname=HOST)
            self.provider = self._get_provider_uuid_by_name(HOST)
            found["started"] = self._offered()
            self._older_guest()
            self._until_refused()
            self.start_compute(host_info=info, hostname=OTHER)
            self._move_healed()
            self._resize_healed()
            (folder / "none").mkdir()
            self.flags(provider_config_location=str(folder / "none"), group="compute")
            self.start_compute(host_info=info, hostname=WITHOUT)
            self.flags(provider_config_location=str(folder), group="compute")
            self._move_booked()
            self._limit()
            self._back_out()

        def _offered(self) -> dict[str, Any]:
            traits = [trait for trait in self._get_provider_traits(self.provider) if trait.startswith("CUSTOM_")]
            return {"inventory": self._get_provider_inventory(self.provider).get(CLASS), "traits": traits}

        def _held(self, server: dict[str, Any]) -> dict[str, int]:
            return dict(self._get_allocations_by_server_uuid(server["id"])[self.provider]["resources"])

        def _older_guest(self) -> None:
            """A guest that is older than its flavor's extra specs, healed; then Nova's periodic tasks run."""
            self.old = self._boot(SHARE)
            found["before healing"] = self._held(self.old)
            held = self.placement.get(f"/allocations/{self.old['id']}", version="1.28").body
            resources = self._held(self.old) | {CLASS: int(json.loads((folder / "specs.json").read_text())[f"resources:{CLASS}"])}
            body = {key: held[key] for key in ("project_id", "user_id", "consumer_generation")}
            answer = self.placement.put(
                f"/allocations/{self.old['id']}", body | {"allocations": {self.provider: {"resources": resources}}}, version="1.28"
            )
            found["healing"] = answer.status
            self._run_periodics()
            found["after healing"] = self._held(self.old)

        def _until_refused(self) -> None:
            """Guests of a flavor that books, until Nova finds no host for one."""
            specs = SHARE | json.loads((folder / "specs.json").read_text())
            self.servers = []
            for _ in range(12):
                server = self._boot(specs)
                if server["status"] != "ACTIVE":
                    found["refused"] = server.get("fault", {}).get("message", "")
                    self._delete(server)
                    break
                self.servers.append(server)
            found["booted"] = [self._held(server) for server in self.servers]
            plain = self._boot({"hw:cpu_policy": "dedicated"})
            found["a guest that books nothing"] = plain["status"]
            self._delete(plain)

        def _move_healed(self) -> None:
            """The healed guest is migrated to a second node, which has a pool too, by the flavor that Nova keeps with it."""
            self._moved(lambda: self._migrate_server(self.old, api=self.admin_api), self.old)
            found["after a migration"] = self._held_anywhere(self.old)

        def _resize_healed(self) -> None:
            """The same guest gets a flavor that books."""
            flavor = self._flavor(SHARE | json.loads((folder / "specs.json").read_text()))
            self._moved(lambda: self._resize_server(self.old, flavor), self.old)
            found["after a resize"] = self._held_anywhere(self.old)
            self._delete(self.old)

        def _move_booked(self) -> None:
            """A guest whose flavor books is to go to a node without the file, before and after it is resized to one that does not book."""
            server = self._boot(SHARE | json.loads((folder / "specs.json").read_text()))
            found["booked before it moves"] = self._held_anywhere(server)
            try:
                self._migrate_server(server, host=WITHOUT, api=self.admin_api)
            except client.OpenStackApiException as error:
                found["refused without a pool"] = error.response.text
            self._moved(lambda: self._resize_server(server, self._flavor(SHARE)), server)
            found["after a resize to a flavor that books nothing"] = self._held_anywhere(server)
            if self._host(server) != WITHOUT:  # a resize may have brought it there
                self._moved(lambda: self._migrate_server(server, host=WITHOUT, api=self.admin_api), server)
            found["moves after that to"] = self._host(server)
            self._delete(server)

        def _limit(self) -> None:
            """Unified limits without one for the class: by Nova's defaults, and with the class among those that need a limit."""
            self.flags(driver="nova.quota.UnifiedLimitsDriver", group="quota")
            self.useFixture(UnifiedLimitsFixture()).create_registered_limit(resource_name="servers", default_limit=99)
            specs = SHARE | json.loads((folder / "specs.json").read_text())
            server = self._boot(specs)
            found["without a limit"] = server["status"]
            self._delete(server)
            self.flags(unified_limits_resource_list=["servers", f"class:{CLASS}"], group="quota")
            try:
                found["with the class in the list"] = self._boot(specs)["status"]
            except client.OpenStackApiException as error:
                found["with the class in the list"] = error.response.status_code
            self.flags(driver="nova.quota.DbQuotaDriver", group="quota")

        def _moved(self, move: Callable[[], object], server: dict[str, Any]) -> None:
            with mock.patch("nova.virt.libvirt.driver.LibvirtDriver.migrate_disk_and_power_off", return_value="{}"):
                move()
                self._confirm_resize(server)

        def _host(self, server: dict[str, Any]) -> str:
            return str(self.admin_api.get_server(server["id"])["OS-EXT-SRV-ATTR:host"])

        def _held_anywhere(self, server: dict[str, Any]) -> dict[str, int]:
            (held,) = self._get_allocations_by_server_uuid(server["id"]).values()
            return dict(held["resources"])

        def _back_out(self) -> None:
            """The file is removed: first while a guest still books, then when nothing does."""
            for file in folder.glob("*.yaml"):
                file.unlink()
            cell, hypervisor = self.host_mappings[HOST].cell_mapping.name, self.computes[HOST].manager.driver._get_connection()
            try:
                self.restart_compute_service(HOST)
                found["removed in use"] = self._offered()
            except Exception as error:
                found["removed in use"] = str(error)
            for server in self.servers:
                held = self.placement.get(f"/allocations/{server['id']}", version="1.28").body
                held["allocations"][self.provider]["resources"].pop(CLASS)
                kept = {"allocations": {self.provider: {"resources": held["allocations"][self.provider]["resources"]}}}
                body = {key: held[key] for key in ("project_id", "user_id", "consumer_generation")}
                self.placement.put(f"/allocations/{server['id']}", body | kept, version="1.28")
            self.start_compute(HOST, *[None] * 6, cell, hypervisor)
            self._run_periodics()
            found["removed"] = self._offered()
            found["the guest runs on"] = self.api.get_server(self.servers[0]["id"])["status"]

        def _boot(self, specs: dict[str, str]) -> dict[str, Any]:
            server = self.api.post_server({"server": self._build_server(flavor_id=self._flavor(specs), networks="none")})
            for _ in range(WAITS):
                server = self.api.get_server(server["id"])
                if server["status"] != "BUILD":
                    break
                time.sleep(0.05)
            return dict(server)

        def _flavor(self, specs: dict[str, str]) -> str:
            name = f"f{time.monotonic_ns()}"
            return str(self._create_flavor(vcpu=1, memory_mb=512, disk=1, ephemeral=0, extra_spec=specs, name=name))

        def _delete(self, server: dict[str, Any]) -> None:
            """Nova's test API fails now and then when a delete meets a periodic task; the next try succeeds."""
            for _ in range(WAITS):
                try:
                    self._delete_server(server)
                except Exception:
                    time.sleep(0.05)
                else:
                    return

    return Cloud()


if __name__ == "__main__":
    sys.exit(main())
