"""What the Compute API says of hypervisors, key by key. Where the values come from does not belong here."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict

from pinfold.api.answers import Link, closed, since


@closed
class HypervisorServer(TypedDict):
    """A server on a host."""

    uuid: str
    name: str


@closed
class HypervisorInBrief(TypedDict):
    """A host. `servers` is there where they were asked for and there are some."""

    id: str
    hypervisor_hostname: str
    state: Literal["up", "down"]
    status: Literal["enabled", "disabled"]
    servers: NotRequired[Annotated[list[HypervisorServer], since(53)]]


@closed
class HypervisorUptime(HypervisorInBrief):
    """A host with how long it has been up."""

    uptime: str


@closed
class HypervisorService(TypedDict):
    """A host's agent."""

    id: str
    host: str
    disabled_reason: str | None


class HypervisorDescribed(HypervisorInBrief):
    """What every microversion tells of a host in full."""

    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    service: HypervisorService


@closed
class HypervisorInFull(HypervisorDescribed):
    """A host from microversion 2.88 on."""

    uptime: str | None


@closed
class CpuCount(TypedDict):
    """How many cells a host has, and online pCPUs."""

    cells: int
    cpus: int


@closed
class CpuInfo(TypedDict):
    """A host's CPUs."""

    model: str
    topology: CpuCount


@closed
class Totals(TypedDict):
    """What a host has, and what of it is promised: vCPUs, MiB, GiB, servers."""

    vcpus: int
    vcpus_used: int
    memory_mb: int
    memory_mb_used: int
    free_ram_mb: int
    local_gb: int
    local_gb_used: int
    free_disk_gb: int
    disk_available_least: int
    running_vms: int
    current_workload: int


@closed
class HypervisorWithTotals(HypervisorDescribed, Totals):
    """A host before microversion 2.88. `cpu_info` is an object from 2.28 on, before that its text."""

    cpu_info: CpuInfo | str


@closed
class HypervisorList(TypedDict):
    """Hosts in brief."""

    hypervisors: list[HypervisorInBrief]
    hypervisors_links: NotRequired[Annotated[list[Link], since(33)]]


@closed
class HypervisorListInFull(TypedDict):
    """Hosts in full."""

    hypervisors: list[HypervisorInFull | HypervisorWithTotals]
    hypervisors_links: NotRequired[Annotated[list[Link], since(33)]]


@closed
class HypervisorShown(TypedDict):
    """One host."""

    hypervisor: HypervisorInFull | HypervisorWithTotals


@closed
class HypervisorUptimeShown(TypedDict):
    """One host with its uptime."""

    hypervisor: HypervisorUptime


@closed
class Statistics(Totals):
    """The sums over all hosts, and how many hosts there are."""

    count: int


@closed
class StatisticsShown(TypedDict):
    """The fleet's totals."""

    hypervisor_statistics: Statistics


@closed
class HypervisorFound(TypedDict):
    """A host, as a search before microversion 2.53 shows it."""

    id: str
    hypervisor_hostname: str
    state: Literal["up", "down"]
    status: Literal["enabled", "disabled"]
    servers: NotRequired[list[HypervisorServer]]


@closed
class HypervisorsFound(TypedDict):
    """What a search found."""

    hypervisors: list[HypervisorFound]
