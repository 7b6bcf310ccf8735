"""What numbers, names and texts from outside the process may be: how large, and how many. What a particular host has is the topology's.

The ranges are what a kernel, libvirt or QEMU can have at most. The numbers are for readers of XML and text, and the types are for msgspec,
which refuses what lies beyond.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

MAX_CPU: Final = 8191
"""The highest index of a CPU: the kernel's largest NR_CPUS (8192) less one."""

MAX_CELL: Final = 1023
"""The highest id of a host cell: the kernel's largest MAX_NUMNODES (1024) less one."""

MAX_CELLS: Final = MAX_CELL + 1
"""The most cells of a host."""

MAX_GUEST_CELLS: Final = 128
"""The most cells of a guest: QEMU's MAX_NODES."""

MAX_IOTHREADS: Final = 1024
"""The most iothreads of a guest. Nova and libvirt know no bound; nobody has one for each disk of more disks than that."""

MAX_AMOUNT: Final = 2**31 - 1
"""The largest amount of memory in MiB, of disk in GiB, and the largest number of pages: Placement's largest integer."""

MAX_PAGE_KIB: Final = 16 * 1024 * 1024
"""The largest page: 16 GiB, as POWER has it."""

MAX_CPU_LIST: Final = 65_536
"""The most characters of a CPU list. Every other one of 8192 CPUs takes 20,000."""

MAX_HOST_TEXT: Final = 65_536
"""The most characters of a host text."""

MAX_XML: Final = 4 * 1024 * 1024
"""The most characters of an XML text: libvirt's REMOTE_STRING_MAX. The capabilities of a host of 2048 pCPUs take 300 KiB."""

MAX_TAGS: Final = 262_144
"""The most opening and closing tags of an XML text. The capabilities of 8192 pCPUs in 64 cells have 30,000."""

MAX_RECORD: Final = 1024 * 1024
"""The most characters of pinfold's record in a domain's metadata."""

MAX_TEMPLATE: Final = 1024 * 1024
"""The most characters of a template, which is a domain XML of a person's."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""The most bytes of a configuration file, a flavors file and their kind."""

VcpuCount = Annotated[int, Meta(ge=1, le=MAX_CPU + 1)]
"""How many vCPUs a guest has."""

CpuIndex = Annotated[int, Meta(ge=0, le=MAX_CPU)]
"""One vCPU or pCPU, as a member of a `CpuSet`."""

CellIndex = Annotated[int, Meta(ge=0, le=65_535)]
"""A host cell or a guest cell."""

MemoryMib = Annotated[int, Meta(ge=0, le=2**40)]
"""An amount of memory in MiB."""

PageKib = Annotated[int, Meta(ge=1, le=2**31)]
"""The size of a page that memory is made of, in KiB."""

Count = Annotated[int, Meta(ge=0, le=2**31)]
"""How many there are of something else: devices, GiB of disk, millicpu."""

Revision = Annotated[int, Meta(ge=0, le=2**53)]
"""A count that only goes up, such as a host's revision."""

Uuid = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
"""A UUID in its plain form: lower case, with hyphens. It is safe as a part of a path and of an address."""

Name = Annotated[str, Meta(max_length=255)]
"""A name that people gave."""
