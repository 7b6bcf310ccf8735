"""Read `HostSettings` from configuration files: pools, limits and folders of one host. `find` finds the files."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pinfold.config.check import misspelled
from pinfold.config.networks import networks_file
from pinfold.config.parse import Values, parse
from pinfold.core.cpu_model import CpuMode, CpuModel, check_cpu_model, cpu_flag
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Booking, Limits, Locality, OverheadRates, ReservedPages
from pinfold.core.pools import PoolConfig
from pinfold.core.printable import shortened
from pinfold.core.settings import HostSettings

_UNITS_KIB = {"": 1, "K": 1, "M": 1024, "G": 1024 * 1024, "T": 1024 * 1024 * 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The content of the files: the host's settings, the flavors file, and likely mistakes in ignored keys.

    `flavors_named` and `networks_named` mean that the files name that file. `files` are those that were read, in order; empty if the
    defaults apply.
    """

    settings: HostSettings
    flavors_file: str
    networks_file: str
    flavors_named: bool = False
    networks_named: bool = False
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load(files: Sequence[str], *, audits: bool = False, without: Collection[str] = ()) -> Configuration:
    """The configuration in `files`; later ones win. Without files the defaults apply.

    With `audits`, for a command that places no guests, it also follows the options of Nova's that placing refuses.
    `without` names options that count as not given, as errors name them.
    Raises `InvalidRequest` naming the file, the key, the value and what is allowed.
    """
    values = parse(files, audits=audits, without=without)
    settings = host_settings(values)
    return Configuration(
        settings=_audited(values, settings) if audits else settings,
        flavors_file=values.path("pinfold", "flavors_file", "/etc/pinfold/flavors.toml"),
        flavors_named=values.given("pinfold", "flavors_file") is not None,
        networks_file=networks_file(values),
        networks_named=values.given("networks", "file") is not None,
        files=values.files,
        warnings=misspelled(values.entries),
    )


def host_settings(values: Values) -> HostSettings:
    """One host's settings. Raises `InvalidRequest` with the file and the key for a value that makes no sense."""
    state_dir = values.path("pinfold", "state_dir", "/var/lib/pinfold")
    packing = values.get("compute", "packing_host_numa_cells_allocation_strategy")
    return HostSettings(
        pools=PoolConfig(
            shared=_cpus(values, "cpu_shared_set"),
            dedicated=_cpus(values, "cpu_dedicated_set"),
            overhead=_cpus(values, "cpu_overhead_set"),
        ),
        limits=_limits(values),
        strategy=Strategy.PACK if packing else Strategy.SPREAD,
        any_cell=values.given("compute", "packing_host_numa_cells_allocation_strategy") is None,
        uri=_uri(values),
        virt_type=values.get("libvirt", "virt_type") or "",
        realtime_priority=values.get("libvirt", "realtime_scheduler_priority"),
        cpu=_cpu_model(values),
        state_dir=state_dir,
        images_dir=values.path("pinfold", "images_dir", f"{state_dir}/images"),
        templates_dir=values.path("pinfold", "templates_dir", f"{state_dir}/templates"),
        host=values.get("DEFAULT", "host") or socket.gethostname(),
        source=", ".join(values.files),
    )


def _audited(values: Values, settings: HostSettings) -> HostSettings:
    """The settings with those options of Nova's applied that placing refuses."""
    pools = replace(
        settings.pools,
        either=_cpus(values, "vcpu_pin_set", group="DEFAULT"),
        power_managed=values.get("libvirt", "cpu_power_management"),
    )
    return replace(settings, pools=pools, reserved_pcpus=values.get("DEFAULT", "reserved_host_cpus"))


def _limits(values: Values) -> Limits:
    def ratio(name: str) -> float:
        # Nova reads 0 as "not set": it was the default before the initial_* options existed.
        return float(values.get("DEFAULT", f"{name}_allocation_ratio") or values.get("DEFAULT", f"initial_{name}_allocation_ratio"))

    return Limits(
        cpu_allocation_ratio=ratio("cpu"),
        ram_allocation_ratio=ratio("ram"),
        disk_allocation_ratio=ratio("disk"),
        reserved_memory_mib=values.get("DEFAULT", "reserved_host_memory_mb"),
        reserved_disk_gib=-(-values.get("DEFAULT", "reserved_host_disk_mb") // 1024),
        reserved_pages=_reserved_pages(values),
        shared_fraction=values.get("overhead", "shared_fraction"),
        booking=Booking(values.get("overhead", "booking")),
        locality=Locality(values.get("overhead", "locality")),
        rates=OverheadRates(
            guest=values.get("overhead", "guest_millicpu"),
            vcpu=values.get("overhead", "vcpu_millicpu"),
            disk=values.get("overhead", "disk_millicpu"),
            nic=values.get("overhead", "nic_millicpu"),
        ),
    )


def _cpus(values: Values, name: str, *, group: str = "compute") -> CpuSet | None:
    """The CPU list of an option. As in Nova, an empty one counts as not set."""
    text = values.get(group, name)
    if text is None or not text.strip():
        return None
    try:
        cpus = CpuSet.parse(text)
    except InvalidRequest as error:
        raise values.refuse(group, name, f"is not a CPU list: {str(error).split(': ', 1)[-1]}") from error
    if not cpus:
        raise values.refuse(group, name, "names no pCPU; write a CPU list such as 0-3,8, or leave the line out for no such pool")
    return cpus


def _reserved_pages(values: Values) -> tuple[ReservedPages, ...]:
    pages: dict[tuple[int, int], ReservedPages] = {}
    for item in values.get("DEFAULT", "reserved_huge_pages") or ():
        size = re.fullmatch(r"(\d{1,12})\s*([KMGT]?)(?:i?B)?", item.get("size", ""), re.IGNORECASE)
        if (
            set(item) != {"node", "size", "count"}
            or size is None
            or not all(re.fullmatch(r"\d{1,9}", item[key]) for key in ("node", "count"))
        ):
            shown = shortened(",".join(f"{key}:{value}" for key, value in item.items()))
            raise InvalidRequest(
                f"[DEFAULT] reserved_huge_pages in {_file_of_pages(values)}: {shown!r} is not allowed; "
                "node:CELL,size:SIZE,count:PAGES is, as in node:0,size:2048,count:64",
                key="[DEFAULT] reserved_huge_pages",
            )
        one = ReservedPages(cell=int(item["node"]), size_kib=int(size[1]) * _UNITS_KIB[size[2].upper()], count=int(item["count"]))
        if (one.cell, one.size_kib) in pages:
            raise InvalidRequest(
                f"[DEFAULT] reserved_huge_pages in {_file_of_pages(values)} names node {one.cell} with pages of {one.size_kib} KiB twice; "
                "one line for each is allowed",
                key="[DEFAULT] reserved_huge_pages",
            )
        pages[one.cell, one.size_kib] = one
    return tuple(pages[key] for key in sorted(pages))


def _file_of_pages(values: Values) -> str:
    entry = values.given("DEFAULT", "reserved_huge_pages")
    return entry.file if entry is not None else "the defaults"


def _cpu_model(values: Values) -> CpuModel:
    """The processor of new guests. Raises `InvalidRequest` for options that contradict each other."""
    try:
        flags = tuple(cpu_flag(text) for text in values.get("libvirt", "cpu_model_extra_flags") or ())
    except InvalidRequest as error:
        raise values.refuse("libvirt", "cpu_model_extra_flags", f"is not allowed: {error}") from error
    mode = CpuMode(values.get("libvirt", "cpu_mode") or "")
    found = CpuModel(mode=mode, models=tuple(values.get("libvirt", "cpu_models") or ()), flags=flags)
    try:
        check_cpu_model(found)
    except InvalidRequest as error:
        raise values.refuse("libvirt", error.key or "cpu_mode", str(error)) from error
    return found


def _uri(values: Values) -> str:
    from pinfold.drivers.registry import DEFAULT_URI, refusal  # late, so that completion answers fast

    uri = str(values.get("libvirt", "connection_uri") or DEFAULT_URI)
    if why := refusal(uri):
        raise values.refuse("libvirt", "connection_uri", why)
    return uri
