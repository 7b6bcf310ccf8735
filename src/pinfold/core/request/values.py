"""Parse the values of extra specs: text to value, or one sentence that says what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.key_table import Key
from pinfold.core.request.keys import find, find_image
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, PageKind, PageRequest, ThreadPolicy

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE: Final = frozenset({"0", "f", "false", "off", "n", "no"})
_CPU_POLICIES: Final = {policy.value: policy for policy in CpuPolicy}
_THREAD_POLICIES: Final = {policy.value: policy for policy in ThreadPolicy}
_EMULATOR_POLICIES: Final = {policy.value: policy for policy in (EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE)}
_PAGE_WORDS: Final = {kind.value: PageRequest(kind=kind) for kind in (PageKind.SMALL, PageKind.LARGE, PageKind.ANY)}
_PAGE_UNITS: Final = {"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SMALLEST_PAGE_KIB: Final = 4
_LARGEST_PAGE_KIB: Final = 16 << 20
_MAX_DIGITS: Final = 16
_SHOWN: Final = 60


class SpecValue(Struct, Generic[T_co], frozen=True, kw_only=True):
    """A value, the name of its extra spec or image property, and its text."""

    name: str
    text: str
    value: T_co

    def said(self) -> str:
        """The beginning of a sentence about the value.

        >>> SpecValue(name="hw:cpu_sockets", text="2", value=2).said()
        "hw:cpu_sockets is '2'"
        """
        return f"{self.name} is {shown(self.text)}"


def shown(text: str) -> str:
    """The text in quotes, shortened if it is long.

    >>> shown("dedicated"), len(shown("x" * 5000))
    ("'dedicated'", 63)
    """
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def indexes(count: int) -> str:
    """The indexes of `count` things, as text for a sentence.

    >>> indexes(4), indexes(1)
    ('0 to 3', '0')
    """
    return "0" if count == 1 else f"0 to {count - 1}"


def not_allowed(name: str, text: str) -> InvalidRequest:
    """The error for a value that its key does not allow.

    >>> str(not_allowed("hw:emulator_threads_policy", "pool"))
    "hw:emulator_threads_policy is 'pool'; it must be share or isolate"
    """
    return InvalidRequest(f"{name} is {shown(text)}; it must be {_key(name).allowed}", key=name)


def _key(name: str) -> Key:
    key = find(name) if ":" in name else find_image(name)
    if key is None:
        raise KeyError(name)
    return key


def cpu_policy(name: str, text: str) -> CpuPolicy:
    """The CPU policy. The spelling must be exact."""
    return word(_CPU_POLICIES, name, text)


def thread_policy(name: str, text: str) -> ThreadPolicy:
    """The thread policy. The spelling must be exact."""
    return word(_THREAD_POLICIES, name, text)


def emulator_policy(name: str, text: str) -> EmulatorPolicy:
    """The emulator policy, SHARE or ISOLATE. The spelling must be exact."""
    return word(_EMULATOR_POLICIES, name, text)


def required(name: str, text: str) -> bool:
    """Whether a trait is required; False means forbidden."""
    return word({"required": True, "forbidden": False}, name, text)


def word(words: Mapping[str, T], name: str, text: str) -> T:
    """What one of the words means. The spelling must be exact."""
    if text not in words:
        raise not_allowed(name, text)
    return words[text]


def boolean(name: str, text: str) -> bool:
    """A boolean, in upper or lower case. Other words are refused; Nova reads them as false.

    >>> boolean("hw:locked_memory", "Yes"), boolean("hw:locked_memory", "0")
    (True, False)
    """
    word = text.lower()
    if word not in TRUE | _FALSE:
        raise not_allowed(name, text)
    return word in TRUE


def whole_number(name: str, text: str, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`, both included.

    >>> whole_number("hw:numa_nodes", "2", least=1, most=128)
    2
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and least <= int(text) <= most):
        raise not_allowed(name, text)
    return int(text)


def page_size(name: str, text: str) -> PageRequest:
    """Parse a page size. A bare number is KiB. Units are powers of 1024, with or without `i` and `B`.

    Bits (`2Mb`) are refused. Raises `InvalidRequest`.

    >>> page_size("hw:mem_page_size", "2MB") == page_size("hw:mem_page_size", "2048")
    True
    >>> page_size("hw:mem_page_size", "1G")
    PageRequest(kind=<PageKind.EXPLICIT: 'explicit'>, size_kib=1048576)
    """
    if text in _PAGE_WORDS:
        return _PAGE_WORDS[text]
    digits = text.rstrip("kKMGTibBt")
    unit = text[len(digits) :]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise not_allowed(name, text)
    if unit.endswith(("b", "bit")):
        raise InvalidRequest(
            f"{name} is {shown(text)}, which counts bits; write {digits}{unit.removesuffix('bit').rstrip('b')}B for bytes", key=name
        )
    size = int(digits) * _page_unit(name, text, unit)
    kib = size >> 10
    if size & 1023 or kib & (kib - 1) or not _SMALLEST_PAGE_KIB <= kib <= _LARGEST_PAGE_KIB:
        raise not_allowed(name, text)
    return PageRequest(kind=PageKind.EXPLICIT, size_kib=kib)


def _page_unit(name: str, text: str, unit: str) -> int:
    if unit in ("", "B"):
        return 1 if unit else 1 << 10
    if unit[0] not in _PAGE_UNITS or unit[1:] not in ("", "B", "i", "iB"):
        raise not_allowed(name, text)
    return _PAGE_UNITS[unit[0]]


def vcpu_list(name: str, text: str, *, vcpus: int) -> CpuSet:
    """Parse a list of vCPUs: at least one, all below `vcpus`. Raises `InvalidRequest`.

    >>> vcpu_list("hw:numa_cpus.0", "0-1,3", vcpus=4)
    CpuSet('0-1,3')
    """
    return _some(name, text, _parsed(name, text, text, vcpus))


def vcpu_mask(name: str, text: str, *, vcpus: int) -> CpuSet:
    """Parse a mask of vCPUs: at least one. With a leading `^`, all vCPUs except the excluded ones. Raises `InvalidRequest`.

    >>> vcpu_mask("hw:cpu_realtime_mask", "^0-1", vcpus=8), vcpu_mask("hw:cpu_realtime_mask", "0-3,^2", vcpus=8)
    (CpuSet('2-7'), CpuSet('0-1,3'))
    """
    full = f"0-{vcpus - 1},{text}" if text.lstrip().startswith("^") else text
    return _some(name, text, _parsed(name, text, full, vcpus))


def _parsed(name: str, text: str, full: str, vcpus: int) -> CpuSet:
    """Parse `full`; errors quote `text`. Every named vCPU must exist, also an excluded one."""
    try:
        cpus, named = CpuSet.parse(full), CpuSet.parse(full.replace("^", ""))
    except InvalidRequest as error:
        raise not_allowed(name, text) from error
    beyond = named - CpuSet.from_mask((1 << vcpus) - 1)
    if beyond:
        raise InvalidRequest(f"{name} is {shown(text)}, but the flavor has no vCPU {beyond.first}; it has {indexes(vcpus)}", key=name)
    return cpus


def _some(name: str, text: str, cpus: CpuSet) -> CpuSet:
    if not cpus:
        raise InvalidRequest(f"{name} is {shown(text)}, which names no vCPU; at least one is needed", key=name)
    return cpus
