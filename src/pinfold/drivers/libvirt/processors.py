"""`Processors`: which processor new guests get of one libvirt, in words, as traits, and compared with what the host can give."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from pinfold.core.cpu_model import CpuModel
from pinfold.core.errors import InvalidRequest
from pinfold.core.processor_traits import processor_traits
from pinfold.drivers.libvirt import guest_cpu, hardware
from pinfold.drivers.libvirt.capabilities import Platform
from pinfold.drivers.libvirt.connection import Connection, libvirt
from pinfold.drivers.libvirt.guest_cpu import HostCpu


class Processors:
    """Asks one libvirt. `wanted` is what is configured. `platform` and `capabilities` (domain capabilities XML by kind of virtualization)
    are read again at each question, since an upgrade changes them. Safe to share between threads.
    """

    def __init__(
        self, connection: Connection, wanted: CpuModel, platform: Callable[[], Platform], capabilities: Callable[[Platform, str], str]
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._platform = platform
        self._capabilities = capabilities
        self._known: tuple[str, tuple[str, ...] | None] = ("", None)

    def host_cpu(self, virt_type: str) -> HostCpu:
        """What processors guests can get here now. Raises `Unavailable`."""
        return guest_cpu.host_cpu(text) if (text := self._told(virt_type)) else HostCpu()

    def words(self) -> str:
        """The processor of a new guest, compared with what the host can give. See `Driver.processor`."""
        return self._compared(self._platform().best_virt_type)

    def traits(self) -> tuple[str, ...] | None:
        """The traits of what libvirt calls the features of a new guest's processor. See `Driver.processor_traits`."""
        platform = self._platform()
        if platform.arch not in hardware.X86:
            return None
        told = self._told(platform.best_virt_type)
        if told != self._known[0] or not told:
            self._known = (told, self._asked(platform.best_virt_type))
        return self._known[1]

    def _told(self, virt_type: str) -> str:
        """What libvirt says that guests can have; '' where it has no guests of that kind."""
        platform = self._platform()
        return self._capabilities(platform, virt_type) if virt_type in platform.virt_types else ""

    def _compared(self, virt_type: str) -> str:
        platform = self._platform()
        cpu = guest_cpu.element(self._wanted, virt_type, guest_cpu.assumed(self._wanted, self.host_cpu(virt_type)))
        if cpu.get("mode") == "custom":
            text = ElementTree.tostring(cpu, encoding="unicode")
            fail = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
            with self._connection.translated(f"this host cannot give new guests the processor {guest_cpu.words(cpu)}"):
                self._connection.live().compareHypervisorCPU(platform.emulator or None, platform.arch, None, virt_type, text, fail)
        return guest_cpu.words(cpu)

    def _asked(self, virt_type: str) -> tuple[str, ...] | None:
        platform = self._platform()
        try:
            self._compared(virt_type)
            cpu = guest_cpu.written_out(self._wanted, virt_type, self.host_cpu(virt_type))
        except InvalidRequest:
            return ()
        if cpu is None:
            return ()
        text, expand = ElementTree.tostring(cpu, encoding="unicode"), libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        with self._connection.translated("the features of the guests' processor cannot be read"):
            found = self._connection.live().baselineHypervisorCPU(platform.emulator or None, platform.arch, None, virt_type, [text], expand)
        return processor_traits(guest_cpu.features_of(found))
