"""`<vcpu>`, `<iothreads>` and `<cputune>` of domain XML: where threads may run. Write them and read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

from pinfold.core.bounds import MAX_CPU, MAX_IOTHREADS
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks
from pinfold.core.errors import InvariantViolation
from pinfold.core.overhead import masks
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.port import DefinedPins, GuestSpec

_WHAT: Final = "domain XML"
_MAX_IOTHREAD_ID: Final = 2**32 - 1


def vcpu(wanted: ExpectedMasks) -> Element:
    """`<vcpu>`. Its cpuset is the overhead set, because libvirt applies it to iothreads that are added later."""
    element = Element("vcpu", {"placement": "static", "cpuset": cpulist(wanted.overhead, "the emulator threads")})
    element.text = str(len(wanted.vcpus))
    return element


def iothreads(count: int) -> Element:
    """`<iothreads>`."""
    element = Element("iothreads")
    element.text = str(count)
    return element


def cputune(spec: GuestSpec, iothread_ids: Iterable[int], make: BuildContext) -> list[Element]:
    """The children of `<cputune>`: the pins, and FIFO for realtime vCPUs."""
    fit = spec.record.fit
    wanted = masks(fit)
    children = pins(enumerate(wanted.vcpus), wanted.overhead, ((index, wanted.overhead) for index in iothread_ids))
    if fit.realtime:
        attributes = {"vcpus": str(fit.realtime), "scheduler": "fifo", "priority": str(make.realtime_priority)}
        children.append(Element("vcpusched", attributes))
    return children


def cpu_time(hardware: GuestHardware) -> list[Element]:
    """The weight and the limits of each vCPU's time."""
    given = (("shares", hardware.cpu_shares), ("period", hardware.cpu_period_us), ("quota", hardware.cpu_quota_us))
    children = []
    for name, value in given:
        if value:
            children.append(Element(name))
            children[-1].text = str(value)
    return children


def pins(vcpus: Iterable[tuple[int, CpuSet]], overhead: CpuSet, iothreads: Iterable[tuple[int, CpuSet]]) -> list[Element]:
    """A pin for each of those vCPUs, for the emulator, and for each iothread. No pin is empty."""
    children = [Element("vcpupin", {"vcpu": str(index), "cpuset": cpulist(cpus, f"vCPU {index}")}) for index, cpus in vcpus]
    children.append(emulator_pin(overhead))
    children.extend(Element("iothreadpin", {"iothread": str(index), "cpuset": str(cpus)}) for index, cpus in iothreads)
    return children


def emulator_pin(cpus: CpuSet) -> Element:
    """`<emulatorpin>`."""
    return Element("emulatorpin", {"cpuset": cpulist(cpus, "the emulator threads")})


@lru_cache(maxsize=512)
def pins_of(text: str) -> DefinedPins:
    """The pins that a domain XML asks for. Raises `InvalidRequest`."""
    return asked_pins(xmltext.parsed(text, _WHAT, root="domain"))


def asked_pins(domain: Element) -> DefinedPins:
    """The pins in a domain. Raises `InvalidRequest` for a cpulist that cannot be read."""
    vcpu, tune = domain.find("vcpu"), domain.find("cputune")
    placement = None if vcpu is None or not vcpu.get("cpuset") else xmltext.cpus(vcpu, "cpuset", _WHAT)
    if tune is None:
        return DefinedPins(placement=placement)
    emulator = tune.find("emulatorpin")
    realtime = CpuSet()
    for item in xmltext.children(tune, "vcpusched", MAX_CPU + 1, _WHAT):
        if item.get("scheduler") in ("fifo", "rr"):
            realtime |= xmltext.cpus(item, "vcpus", _WHAT)
    return DefinedPins(
        vcpus=_pins(xmltext.children(tune, "vcpupin", MAX_CPU + 1, _WHAT), "vcpu", MAX_CPU),
        emulator=None if emulator is None else xmltext.cpus(emulator, "cpuset", _WHAT),
        iothreads=_pins(xmltext.children(tune, "iothreadpin", MAX_IOTHREADS, _WHAT), "iothread", _MAX_IOTHREAD_ID),
        placement=placement,
        realtime=realtime,
    )


def iothread_ids(domain: Element) -> tuple[int, ...]:
    """The ids of a domain's iothreads, ascending. libvirt lists all of them in every XML that it prints."""
    items = xmltext.children(domain, "iothreadids/iothread", MAX_IOTHREADS, _WHAT)
    listed = sorted(xmltext.integer(item, "id", _WHAT, most=_MAX_IOTHREAD_ID) for item in items)
    count = domain.find("iothreads")
    return tuple(listed) or tuple(range(1, 1 + (0 if count is None else xmltext.text_integer(count, _WHAT, most=MAX_IOTHREADS))))


def row(cpus: CpuSet, size: int) -> tuple[bool, ...]:
    """A CPU set as libvirt-python's pin functions take it: `size` booleans, one per pCPU."""
    return tuple(cpu in cpus for cpu in range(size))


def cpus_of(bools: Iterable[bool]) -> CpuSet:
    """The CPU set of such a row."""
    return CpuSet(cpu for cpu, on in enumerate(bools) if on)


def _pins(items: Iterable[Element], attribute: str, most: int) -> tuple[tuple[int, CpuSet], ...]:
    pins = ((xmltext.integer(item, attribute, _WHAT, most=most), xmltext.cpus(item, "cpuset", _WHAT)) for item in items)
    return tuple(sorted(pins, key=lambda pin: pin[0]))


def cpulist(cpus: CpuSet, what: str) -> str:
    """The set as an attribute. Raises `InvariantViolation` for an empty one; `what` runs on it."""
    if not cpus:
        # libvirt reads an empty cpuset as "anywhere".
        raise InvariantViolation(f"a fit gives {what} no CPU")
    return str(cpus)
