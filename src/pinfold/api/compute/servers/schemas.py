"""Schemas of the Compute API's servers, key by key. `view` fills them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from typing_extensions import TypedDict

from pinfold.api.response_schema import Link, closed, since


@closed
class ServerInBrief(TypedDict):
    """A server in a listing without detail."""

    id: str
    name: str
    links: list[Link]


@closed
class ServerImage(TypedDict):
    """The image from which a server was made."""

    id: str
    links: list[Link]


@closed
class FlavorReference(TypedDict):
    """A server's flavor before microversion 2.47."""

    id: str
    links: list[Link]


@closed
class FlavorCopy(TypedDict):
    """A server's flavor from microversion 2.47 on, as it was when the server was created."""

    original_name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int
    swap: int
    extra_specs: dict[str, str]


@closed
class ServerFault(TypedDict):
    """Why a server is in error: the hosts and what each lacked."""

    code: int
    created: str
    message: str


_Prefixed = TypedDict(
    "_Prefixed",
    {
        "OS-DCF:diskConfig": Literal["AUTO", "MANUAL"],
        "OS-EXT-AZ:availability_zone": NotRequired[str],
        "OS-EXT-STS:vm_state": NotRequired[str],
        "OS-EXT-STS:task_state": NotRequired[str | None],
        "OS-EXT-STS:power_state": NotRequired[int],
        "OS-EXT-SRV-ATTR:host": NotRequired[str | None],
        "OS-EXT-SRV-ATTR:hypervisor_hostname": NotRequired[str | None],
        "OS-EXT-SRV-ATTR:instance_name": NotRequired[str],
        "OS-EXT-SRV-ATTR:reservation_id": NotRequired[Annotated[str, since(3)]],
        "OS-EXT-SRV-ATTR:launch_index": NotRequired[Annotated[int, since(3)]],
        "OS-EXT-SRV-ATTR:hostname": NotRequired[Annotated[str, since(3)]],
        "OS-EXT-SRV-ATTR:kernel_id": NotRequired[Annotated[str, since(3)]],
        "OS-EXT-SRV-ATTR:ramdisk_id": NotRequired[Annotated[str, since(3)]],
        "OS-EXT-SRV-ATTR:root_device_name": NotRequired[Annotated[str | None, since(3)]],
        "OS-EXT-SRV-ATTR:user_data": NotRequired[Annotated[str | None, since(3)]],
        "OS-SRV-USG:launched_at": NotRequired[str | None],
        "OS-SRV-USG:terminated_at": NotRequired[str | None],
        "os-extended-volumes:volumes_attached": NotRequired[list[dict[str, str]]],
    },
)


@closed
class ServerInFull(ServerInBrief, _Prefixed):
    """A server in full. From microversion 2.75 on, the response to a change also has the keys with a prefix, `config_drive`, `key_name` and
    `host_status`.
    """

    status: str
    image: ServerImage | Literal[""]
    flavor: FlavorCopy | FlavorReference
    user_id: str
    tenant_id: str
    created: str
    updated: str
    metadata: dict[str, str]
    addresses: dict[str, Any]
    accessIPv4: str
    accessIPv6: str
    hostId: str
    progress: NotRequired[int]
    fault: NotRequired[ServerFault]
    config_drive: NotRequired[str]
    key_name: NotRequired[str | None]
    host_status: NotRequired[Annotated[str, since(16)]]
    locked: NotRequired[Annotated[bool, since(9)]]
    description: NotRequired[Annotated[str | None, since(19)]]
    tags: NotRequired[Annotated[list[str], since(26)]]
    trusted_image_certificates: NotRequired[Annotated[None, since(63)]]
    server_groups: NotRequired[Annotated[list[str], since(71)]]
    locked_reason: NotRequired[Annotated[str | None, since(73)]]
    pinned_availability_zone: NotRequired[Annotated[str | None, since(96)]]


@closed
class ServerList(TypedDict):
    """Servers in brief."""

    servers: list[ServerInBrief]
    servers_links: NotRequired[list[Link]]


@closed
class ServerListInFull(TypedDict):
    """Servers in full."""

    servers: list[ServerInFull]
    servers_links: NotRequired[list[Link]]


@closed
class ServerShown(TypedDict):
    """One server."""

    server: ServerInFull


_Created = TypedDict("_Created", {"OS-DCF:diskConfig": Literal["AUTO", "MANUAL"], "adminPass": NotRequired[str]})


@closed
class NewServerReference(_Created):
    """A server that was just created. `adminPass` is there only if the request has it, and is never shown again."""

    id: str
    links: list[Link]


@closed
class ServerCreated(TypedDict):
    """The first of the created servers."""

    server: NewServerReference


@closed
class ServersReserved(TypedDict):
    """The id for finding several servers, if `return_reservation_id` was set."""

    reservation_id: str


@closed
class MetadataShown(TypedDict):
    """A server's metadata."""

    metadata: dict[str, str]


@closed
class MetadatumShown(TypedDict):
    """One entry of a server's metadata."""

    meta: dict[str, str]


@closed
class TopologyNode(TypedDict):
    """One of a server's cells. Admins also see its cell of the host, and in `cpu_pinning` the pCPU of each pinned vCPU."""

    memory_mb: int
    siblings: list[list[int]]
    vcpu_set: list[int]
    host_node: NotRequired[int]
    cpu_pinning: NotRequired[dict[str, int]]


@closed
class TopologyShown(TypedDict):
    """A server's NUMA topology; no nodes for a server without cells."""

    nodes: list[TopologyNode]
    pagesize_kb: int | None


@closed
class CpuUseShown(TypedDict):
    """What one vCPU used: nanoseconds."""

    id: int
    time: int
    utilisation: None


@closed
class MemoryUseShown(TypedDict):
    """A server's memory in MiB. What the guest uses of it is not counted: guests have no balloon device, which would tell."""

    maximum: int
    used: int | None


@closed
class NicUseShown(TypedDict):
    """What one interface received and sent."""

    mac_address: str
    rx_octets: int
    rx_errors: int
    rx_drop: int
    rx_packets: int
    rx_rate: None
    tx_octets: int
    tx_errors: int
    tx_drop: int
    tx_packets: int
    tx_rate: None


@closed
class DiskUseShown(TypedDict):
    """What was read from one disk and written to it."""

    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int
    errors_count: None


@closed
class StandardDiagnostics(TypedDict):
    """What the hypervisor counts of a server, from microversion 2.48 on. What it does not count is null."""

    state: str
    driver: str
    hypervisor: str
    hypervisor_os: str
    uptime: int
    config_drive: bool
    num_cpus: int
    num_nics: int
    num_disks: int
    memory_details: MemoryUseShown
    cpu_details: list[CpuUseShown]
    nic_details: list[NicUseShown]
    disk_details: list[DiskUseShown]


DiagnosticsShown = StandardDiagnostics | dict[str, int]
"""Before microversion 2.48 the keys are named after vCPUs and devices: `cpu0_time`, `vda_read`."""
