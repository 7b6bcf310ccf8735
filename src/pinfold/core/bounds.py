"""Bounds of numbers, names and texts that come from outside the process. They are the same for every host.

The bounds are the maxima of the kernel, libvirt and QEMU. Readers of XML and text use the numbers. msgspec uses the types and refuses
values outside them.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from pinfold.core.identity import ClaimId, GuestId

MAX_CPU: Final = 8191
"""The highest CPU index: the kernel's largest NR_CPUS (8192) minus one."""

MAX_CELL: Final = 1023
"""The highest id of a host cell: the kernel's largest MAX_NUMNODES (1024) minus one."""

MAX_CELLS: Final = MAX_CELL + 1
"""The most cells of a host."""

MAX_GUEST_CELLS: Final = 128
"""The most cells of a guest: QEMU's MAX_NODES."""

MAX_IOTHREADS: Final = 1024
"""The most iothreads of a guest. Nova and libvirt have no limit; this one exceeds one iothread per disk for any real guest."""

MAX_AMOUNT: Final = 2**31 - 1
"""The largest amount of memory in MiB, of disk in GiB, and the largest number of pages: Placement's largest integer."""

MAX_PAGE_KIB: Final = 16 * 1024 * 1024
"""The largest page: 16 GiB, on POWER."""

MAX_CPU_LIST: Final = 65_536
"""The most characters of a CPU list. A list of every second CPU of 8192 takes 20,000."""

MAX_HOST_TEXT: Final = 65_536
"""The most characters of a host text."""

MAX_XML: Final = 4 * 1024 * 1024
"""The most characters of an XML text: libvirt's REMOTE_STRING_MAX. The capabilities of a host of 2048 pCPUs take 300 KiB."""

MAX_TAGS: Final = 262_144
"""The most opening and closing tags of an XML text. The capabilities of 8192 pCPUs in 64 cells have 30,000."""

MAX_RECORD: Final = 1024 * 1024
"""The most characters of pinfold's record in a domain's metadata."""

MAX_TEMPLATE: Final = 1024 * 1024
"""The most characters of a template: a domain XML that a person wrote."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""The most bytes of a configuration file, a flavors file or a similar file."""

MAX_IMAGE_VARIANTS: Final = 100
"""The most variants of images that one project has."""

MAX_IMAGE_PROPERTIES: Final = 256
"""The most properties of an image, in its property file or of a variant."""

VcpuCount = Annotated[int, Meta(ge=1, le=MAX_CPU + 1)]
"""The number of vCPUs of a guest."""

CpuIndex = Annotated[int, Meta(ge=0, le=MAX_CPU)]
"""The index of one vCPU or pCPU."""

CellIndex = Annotated[int, Meta(ge=0, le=65_535)]
"""The id of a host cell or a guest cell."""

MemoryMib = Annotated[int, Meta(ge=0, le=2**40)]
"""An amount of memory in MiB."""

PageKib = Annotated[int, Meta(ge=1, le=2**31)]
"""The size of a memory page in KiB."""

Count = Annotated[int, Meta(ge=0, le=2**31)]
"""Any other amount: devices, GiB of disk, millicpu."""

Revision = Annotated[int, Meta(ge=0, le=2**53)]
"""A count that only goes up, such as a host's revision."""

Number = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""Any whole number in an agent's report of its host. `sanity` has the narrower bounds."""

Uuid = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
"""A UUID in lower case with hyphens. It is safe in a path and in a URL."""

GuestUuid = Annotated[GuestId, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
"""The id of a guest, as a `Uuid`."""

ClaimUuid = Annotated[ClaimId, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
"""The id of a claim, as a `Uuid`."""

Name = Annotated[str, Meta(max_length=255)]
"""A name that a person chose."""
