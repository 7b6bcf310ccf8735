"""Schemas of the Compute API's hypervisors, key by key. `routes` fills them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict

from pinfold.api.response_schema import Link, closed, since


@closed
class HypervisorServer(TypedDict):
    """A server on a host."""

    uuid: str
    name: str


@closed
class HypervisorInBrief(TypedDict):
    """A host. `servers` is present if they were requested; before microversion 2.75 only where there are some."""

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


class HypervisorDetails(HypervisorInBrief):
    """The keys of a host in full that every microversion has."""

    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    service: HypervisorService


@closed
class HypervisorInFull(HypervisorDetails):
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
class HypervisorWithTotals(HypervisorDetails, Totals):
    """A host before microversion 2.88. `cpu_info` is an object from 2.28 on, and text before that."""

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
class HypervisorMatch(TypedDict):
    """A host in a search before microversion 2.53."""

    id: str
    hypervisor_hostname: str
    state: Literal["up", "down"]
    status: Literal["enabled", "disabled"]
    servers: NotRequired[list[HypervisorServer]]


@closed
class HypervisorMatches(TypedDict):
    """The results of a search."""

    hypervisors: list[HypervisorMatch]
