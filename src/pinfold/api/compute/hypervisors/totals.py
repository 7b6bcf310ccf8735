"""What a host has, and what of it is promised to guests, in the Compute API's old units."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.api.compute.hypervisors.schemas import Totals
from pinfold.store.guests_of_hosts import Activity
from pinfold.store.records import HostLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A host's totals and what of them is promised, in the Compute API's old units: vCPUs, MiB, GiB, servers."""

    vcpus: int
    vcpus_used: int
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int
    running: int
    building: int

    def as_api(self) -> Totals:
        """The keys of microversions before 2.88."""
        return {
            "vcpus": self.vcpus,
            "vcpus_used": self.vcpus_used,
            "memory_mb": self.memory_mib,
            "memory_mb_used": self.memory_used_mib,
            "free_ram_mb": self.memory_mib - self.memory_used_mib,
            "local_gb": self.disk_gib,
            "local_gb_used": self.disk_used_gib,
            "free_disk_gb": self.disk_gib - self.disk_used_gib,
            "disk_available_least": self.disk_gib - self.disk_used_gib,
            "running_vms": self.running,
            "current_workload": self.building,
        }


def usage(ledger: HostLedger, now: Activity) -> Usage:
    """The totals of a host, and what its guests do now."""
    state = ledger.state
    fits = [claim.fit for claim in state.ledger.claims]
    return Usage(
        vcpus=len(state.pools.shared | state.pools.dedicated),
        vcpus_used=sum(fit.floating_count + len(fit.taken) for fit in fits),
        memory_mib=sum(cell.memory_mib for cell in state.topology.cells),
        memory_used_mib=sum(fit.memory_mib for fit in fits) + state.limits.reserved_memory_mib,
        disk_gib=state.disk_gib or 0,
        disk_used_gib=sum(fit.disk_gib for fit in fits) + state.limits.reserved_disk_gib,
        running=now.running if ledger.record.up else 0,
        building=now.busy,
    )
