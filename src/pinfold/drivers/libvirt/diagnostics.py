"""Turn libvirt's counts of a running domain into `Diagnostics`. Pure.

Source: the keys of `virConnectGetAllDomainStats`, in libvirt's documentation of that function. A count that a hypervisor does not have is
missing there, and 0 here. libvirt counts interfaces in the order in which the domain has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pinfold.core.guest_questions import Diagnostics, DiskUse, NicUse
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import HostGuest

_MOST: Final = 256


def of(counts: Mapping[str, Any], text: str, guest: HostGuest, *, uptime_seconds: int) -> Diagnostics:
    """The diagnostics of the guest whose running definition is `text`."""
    domain = xmltext.parsed(text, "domain XML", root="domain")
    macs = tuple(mac.get("address", "") for mac in domain.iterfind("devices/interface/mac"))
    resident = counts.get("balloon.rss")
    return Diagnostics(
        state=guest.state.value,
        hypervisor=domain.get("type", ""),
        memory_mib=guest.memory_mib,
        resident_mib=None if resident is None else resident // 1024,
        uptime_seconds=uptime_seconds,
        cpu_ns=tuple(counts.get(f"vcpu.{index}.time", 0) for index in range(guest.vcpus)),
        disks=tuple(_disk(counts, f"block.{index}") for index in range(min(counts.get("block.count", 0), _MOST))),
        nics=tuple(_nic(counts, f"net.{index}", mac) for index, mac in enumerate(macs[:_MOST])),
    )


def _disk(counts: Mapping[str, Any], place: str) -> DiskUse:
    return DiskUse(
        name=counts.get(f"{place}.name", ""),
        read_bytes=counts.get(f"{place}.rd.bytes", 0),
        read_requests=counts.get(f"{place}.rd.reqs", 0),
        write_bytes=counts.get(f"{place}.wr.bytes", 0),
        write_requests=counts.get(f"{place}.wr.reqs", 0),
    )


def _nic(counts: Mapping[str, Any], place: str, mac: str) -> NicUse:
    def count(way: str, what: str) -> int:
        return int(counts.get(f"{place}.{way}.{what}", 0))

    return NicUse(
        mac=mac,
        rx_bytes=count("rx", "bytes"),
        rx_packets=count("rx", "pkts"),
        rx_errors=count("rx", "errs"),
        rx_drop=count("rx", "drop"),
        tx_bytes=count("tx", "bytes"),
        tx_packets=count("tx", "pkts"),
        tx_errors=count("tx", "errs"),
        tx_drop=count("tx", "drop"),
    )
