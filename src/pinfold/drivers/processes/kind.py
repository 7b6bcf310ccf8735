"""`ProcessesKind`: the kind of driver that looks for QEMU processes in procfs."""

from __future__ import annotations

from collections.abc import Callable

from pinfold.core.cpu_model import CpuModel
from pinfold.core.errors import InvalidRequest
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Checkup, Needs
from pinfold.drivers.driver_kind import AnotherHost, DeviceCounts, Witness
from pinfold.drivers.port import Driver, GuestSpec
from pinfold.drivers.processes.driver import URI, ProcessesDriver, refuse


class ProcessesKind:
    """See `DriverKind`."""

    name = "processes"

    def open(self, uri: str, *, witness: Witness | None, realtime_priority: int, cpu: CpuModel) -> Driver:  # noqa: ARG002  # the port's
        """The driver of this machine's processes. Raises `InvalidRequest` for any other address than `processes:`."""
        if uri != URI:
            raise InvalidRequest(f"the address {uri!r} is not allowed; {URI} is, for the QEMU processes of this machine", key="uri")
        return ProcessesDriver()

    def device_counts(self, template: str) -> DeviceCounts:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse("a template cannot be used")

    def another_host(self, description: str, *, realtime_priority: int) -> AnotherHost:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse("another host cannot be described")

    def writer(self, *, realtime_priority: int) -> Callable[[GuestSpec], str]:  # noqa: ARG002  # the port's
        """Definitions are refused, always with `InvalidRequest`."""
        return lambda spec: refuse(f"guest {spec.name} cannot be defined")

    def checkups(self, uri: str, needs: Needs, *, realtime_priority: int, topology: Topology | None) -> tuple[Checkup, ...]:  # noqa: ARG002
        """None: whoever starts the processes has to care for what they need."""
        return ()

    def start_command(self, uri: str) -> str:  # noqa: ARG002  # the port's
        """None: there is no daemon."""
        return ""
