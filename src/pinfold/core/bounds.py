"""What numbers and names may be in values from outside the process, as types: msgspec refuses what lies beyond when it reads them.

The ranges are what a kernel or QEMU can have at most. What a particular host has is the topology's.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pinfold.core.cpuset import MAX_CPU

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
