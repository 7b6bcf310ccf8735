"""A lab host with a driver and settings, and the guests to start there. The labs themselves are in `tests/real/conftest.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.core.fit.answer import NoFit
from pinfold.core.pools import PoolConfig
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, Driver, HostGuest
from pinfold.host.description import GuestDescription
from pinfold.host.start import StartResult, place
from pinfold.lab.daemon import LabHost

DEDICATED = {"hw:cpu_policy": "dedicated"}


def pools(*, shared: str | None = None, dedicated: str | None = None, overhead: str | None = None) -> PoolConfig:
    """The three options, as text."""
    sets = [None if text is None else CpuSet.parse(text) for text in (shared, dedicated, overhead)]
    return PoolConfig(shared=sets[0], dedicated=sets[1], overhead=sets[2])


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One lab host with a driver, settings and a ROM: what a test starts guests with."""

    lab: LabHost
    driver: Driver
    settings: HostSettings
    rom: Path

    def with_pools(self, *, shared: str | None = None, dedicated: str | None = None, overhead: str | None = None) -> Bench:
        """The same with other pools."""
        return replace(self, settings=structs.replace(self.settings, pools=pools(shared=shared, dedicated=dedicated, overhead=overhead)))

    def order(self, name: str, specs: dict[str, str] | None = None, *, vcpus: int = 1, boot: Boot | None = None) -> GuestDescription:
        """A guest of 16 MiB that boots the ROM."""
        flavor = Flavor(vcpus=vcpus, memory_mib=16, extra_specs=tuple(sorted((specs or {}).items())))
        request = compile_request(flavor, disks=1 if boot is not None and boot.disk else 0)
        return GuestDescription(name=name, request=request, boot=boot or Boot(rom=str(self.rom)))

    def start(self, wanted: GuestDescription) -> StartResult:
        """The guest, which has to fit."""
        found = place(self.driver, self.settings, wanted)
        assert not isinstance(found, NoFit), found.sentence()
        return found

    def guest(self, name: str) -> HostGuest:
        """The guest of that name, as the hypervisor sees it now."""
        return next(guest for guest in self.driver.guests() if guest.name == name)

    def left(self) -> list[str]:
        """Whatever is left of guests: definitions, processes, disks, logs."""
        state = Path(self.settings.state_dir)
        files = [path.name for folder in ("overlays", "serial") for path in (state / folder).rglob("*") if path.is_file()]
        return [guest.name for guest in self.driver.guests()] + processes(self.lab) + files


class FailsLate:
    """A driver, but for one method that fails at one of its calls, after it has done its work."""

    def __init__(self, driver: Driver, method: str, *, at: int = 1) -> None:
        self._driver, self._method, self._left = driver, method, at

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._driver, name)
        if name != self._method:
            return found

        def fails(*arguments: Any, **more: Any) -> Any:
            answer = found(*arguments, **more)
            self._left -= 1
            if self._left == 0:
                raise Unavailable("libvirt went away")
            return answer

        return fails


def processes(lab: LabHost) -> list[str]:
    """The ids of the QEMU processes whose sockets lie in this lab."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if (
                    b"qemu-system" in command.split(b"\0")[0]
                    and str(lab.folder.path).encode() in command + (folder / "environ").read_bytes()
                ):
                    found.append(folder.name)
    return found


def allowed(pid: int) -> dict[str, set[str]]:
    """Thread name -> the masks of the threads of that name, read from procfs without any code of ours."""
    found: dict[str, set[str]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            lines = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
            found.setdefault(lines["Name"], set()).add(lines["Cpus_allowed_list"])
    return found
