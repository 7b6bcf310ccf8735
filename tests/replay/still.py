"""A hypervisor that holds still: a host, domains and threads as recorded. For commands in the test's own process; part of the adapter.

It proves nothing about libvirt. What it shows are texts that real hypervisors and procfs gave, or would give, and it takes every order
without doing anything, so that the documents of commands come out the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject
from pinfold.core.drift.steps import Step
from pinfold.core.hosttext import host as topology_of
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.core.request.model import GuestRequest
from pinfold.core.topology import Topology
from pinfold.drivers.kvm.thread_class import of_class
from pinfold.drivers.libvirt import definition
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.commands import repair_command
from pinfold.drivers.libvirt.definition import host_guest
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import Driver, Event, GuestSpec, GuestState, HostGuest, Observation, Record
from pinfold.linux.procfs import Thread

PAGES = HostPages(cells=tuple(range(16)))
CONTEXT = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))


@dataclass(frozen=True)
class Still:
    """The `Driver` of one recorded host."""

    shape: str
    domains: tuple[Any, ...]
    uri: str = "qemu:///system"
    local: bool = True
    sole_manager: bool = False

    @classmethod
    def read(cls, plain: Any) -> Still:
        """`plain` has the host text `shape`, and `domains`: xml, state, pid, threads."""
        return cls(shape=plain["shape"], domains=tuple(plain["domains"]))

    def platform_name(self) -> str:
        return "QEMU"

    def processor(self) -> str:
        return ""

    def processor_traits(self) -> tuple[str, ...]:
        return ()

    def features(self) -> tuple[str, ...]:
        return ()

    def hypervisor_version(self) -> int:
        return 7_002_011

    def topology(self) -> Topology:
        return topology_of(self.shape)

    def guests(self) -> tuple[HostGuest, ...]:
        return tuple(sorted((self._guest(domain) for domain in self.domains), key=lambda guest: guest.id))

    def definition(self, spec: GuestSpec) -> str:
        return definition.definition(spec, CONTEXT)

    def observe(self, guest: HostGuest) -> Observation:
        threads = next(domain["threads"] for domain in self.domains if self._guest(domain).id == guest.id)
        return Observation(threads=tuple(map(_thread, threads)), witness="procfs")

    def start(self, spec: GuestSpec) -> HostGuest:
        raise NotImplementedError("a host that holds still gets no new guest")

    def has_saved_memory(self, guest: str) -> bool:
        return False

    def restart(self, guest: str, *, fresh: bool = False) -> HostGuest:
        return replace(self._known(guest), state=GuestState.PAUSED, pid=2000)

    def redefine(self, guest: str, record: Record, request: GuestRequest) -> HostGuest:
        return replace(self._known(guest), record=record)

    def amend(self, guest: str, record: Record) -> None:
        pass

    def resume(self, guest: str) -> None:
        pass

    def pause(self, guest: str) -> None:
        pass

    def save(self, guest: str) -> None:
        pass

    def shut_down(self, guest: str) -> None:
        pass

    def stop(self, guest: str, *, remove: bool, graceful_seconds: float = 0.0) -> None:
        pass

    def pin(self, guest: str, masks: Masks) -> None:
        pass

    def repair_command(self, subject: Subject, steps: tuple[Step, ...]) -> str:
        return repair_command(self.uri, subject, steps)

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        return lambda: None

    def close(self) -> None:
        pass

    def _known(self, guest: str) -> HostGuest:
        return next(one for one in self.guests() if one.id == guest)

    def _guest(self, domain: Any) -> HostGuest:
        return host_guest(domain["xml"], state=GuestState(domain["state"]), persistent=True, pid=domain["pid"], pages=PAGES)


@contextmanager
def open_still(plain: Any) -> Iterator[Driver]:
    """The driver of one recorded host."""
    yield Still.read(plain)


def _thread(plain: Any) -> ObservedThread:
    seen = Thread(tid=plain["tid"], comm=plain["name"], allowed=CpuSet.parse(plain["allowed"]), scheduler=plain.get("scheduler", "other"))
    return of_class(seen, ThreadClass(plain["class"]), plain.get("vcpu"))
