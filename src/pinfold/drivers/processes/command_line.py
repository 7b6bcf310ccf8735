"""Read what a QEMU process's command line tells of its guest: name, id, vCPUs, memory, monitor sockets. Pure.

Anybody can start a process with any command line. So every number has a bound, a text that cannot be read counts as absent, and names
are cut; whoever prints one escapes it (`core.printable`). Source: QEMU's manual page (`-name`, `-uuid`, `-smbios`, `-smp`, `-m`, `-qmp`,
`-mon`, `-chardev`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID

import msgspec

from pinfold.core.bounds import MAX_AMOUNT, MAX_CPU
from pinfold.core.printable import cleaned

_MAX_NAME: Final = 200
_MAX_MONITORS: Final = 8
_DEFAULT_MIB: Final = 128
"""QEMU's own default of `-m`."""
_MIB_OF_UNIT: Final = {"B": 1 / (1 << 20), "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024, "": 1.0}
_SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.[0-9]{1,6})?([BKMGT]?)", re.IGNORECASE)
_FLAGS: Final = ("server", "nowait", "wait")
"""Options of a socket that may stand without a value."""


class CommandLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line tells. `uuid` and `name` are '' if it tells none. `monitors` are paths of QMP sockets on which QEMU listens."""

    name: str = ""
    uuid: str = ""
    vcpus: int = 1
    memory_mib: int = _DEFAULT_MIB
    monitors: tuple[str, ...] = ()


def read(arguments: Sequence[str]) -> CommandLine:
    """The guest of a QEMU command line, the program first.

    >>> found = read(["kvm", "-name", "guest=web,debug-threads=on", "-smp", "4,sockets=1", "-m", "2G", "-qmp", "unix:/run/q,server=on"])
    >>> found.name, found.vcpus, found.memory_mib, found.monitors
    ('web', 4, 2048, ('/run/q',))
    """
    options = list(_options(arguments))
    texts = dict(options)  # QEMU takes the last one of an option that may stand once
    return CommandLine(
        name=_name(texts.get("name", "")),
        uuid=_uuid(options),
        vcpus=_vcpus(texts.get("smp", "")),
        memory_mib=_memory_mib(texts.get("m", "")),
        monitors=_monitors(options),
    )


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options with their values, without dashes; QEMU takes one dash or two. The value of a flag is the next option, and unused."""
    for place, word in enumerate(arguments[1:-1], start=1):
        if word.startswith("-"):
            yield word.removeprefix("-").removeprefix("-"), arguments[place + 1]


def _pairs(text: str, implied: str) -> dict[str, str]:
    """The `key=value` parts of an option's value. The first part may be the value of the `implied` key; `,,` is a comma in a value.

    >>> _pairs("a,,b,debug-threads=on", "guest")
    {'guest': 'a,b', 'debug-threads': 'on'}
    """
    found: dict[str, str] = {}
    for place, part in enumerate(text.replace(",,", "\0").split(",")):
        key, equals, value = part.replace("\0", ",").partition("=")
        if equals:
            found[key] = value
        elif place == 0:
            found[implied] = key
        elif key in _FLAGS:
            found[key] = "on"
        elif key.startswith("no"):
            found[key.removeprefix("no")] = "off"
    return found


def _name(text: str) -> str:
    return cleaned(_pairs(text, "guest").get("guest", ""))[:_MAX_NAME].strip()


def _uuid(options: Iterable[tuple[str, str]]) -> str:
    """The id in `-uuid`, or in the SMBIOS system table, where Proxmox gives it; '' if there is none."""
    found = ""
    for option, value in options:
        if option == "uuid":
            found = value
        elif option == "smbios" and (pairs := _pairs(value, "file")).get("type") == "1" and not found:
            found = pairs.get("uuid", "")
    try:
        return str(UUID(found[:64])) if found else ""
    except ValueError:
        return ""


def _vcpus(text: str) -> int:
    """The vCPUs at the start: `cpus`, or the product of the topology.

    >>> _vcpus("4,maxcpus=8"), _vcpus("sockets=2,cores=2,threads=1"), _vcpus("cpus=many"), _vcpus("99999999")
    (4, 4, 1, 1)
    """
    pairs = _pairs(text, "cpus")
    if "cpus" in pairs:
        return _number(pairs["cpus"])
    product = 1
    for level in ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads"):
        product *= _number(pairs.get(level, "1"))
    return product if product <= MAX_CPU + 1 else 1


def _number(text: str) -> int:
    known = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if known and 1 <= int(text) <= MAX_CPU + 1 else 1


def _memory_mib(text: str) -> int:
    """The memory at the start in MiB, rounded up. A number without a unit is in MiB.

    >>> _memory_mib("2G,slots=2,maxmem=8G"), _memory_mib("size=1536"), _memory_mib("2097152K"), _memory_mib("much")
    (2048, 1536, 2048, 128)
    """
    found = _SIZE.fullmatch(_pairs(text, "size").get("size", "").removesuffix("iB"))
    if found is None:
        return _DEFAULT_MIB
    amount = -int(-int(found[1]) * _MIB_OF_UNIT[found[2].upper()] // 1)
    return amount if 1 <= amount <= MAX_AMOUNT else _DEFAULT_MIB


def _monitors(options: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The paths of the sockets on which QEMU listens as a QMP server: first those of `-qmp`, then those of `-mon`.

    Monitors that spread a message over several lines (`pretty`) are left out.
    """
    sockets: dict[str, str] = {}
    named: list[str] = []
    paths: list[str] = []
    for option, value in options:
        if option == "qmp" and value.startswith("unix:"):
            paths.append(_listening(_pairs(value.removeprefix("unix:"), "path")))
        elif option == "chardev":
            pairs = _pairs(value, "backend")
            if pairs.get("backend") == "socket" and "id" in pairs:
                sockets[pairs["id"]] = _listening(pairs)
        elif option == "mon":
            pairs = _pairs(value, "chardev")
            if pairs.get("mode") == "control" and pairs.get("pretty", "off") == "off":
                named.append(pairs.get("chardev", ""))
    found = [path for path in (*paths, *(sockets.get(name, "") for name in named)) if path]
    return tuple(dict.fromkeys(found))[:_MAX_MONITORS]


def _listening(pairs: dict[str, str]) -> str:
    """The path of a UNIX socket on which QEMU listens; '' for another socket, and for one in the abstract name space."""
    server = pairs.get("server") == "on" and pairs.get("abstract", "off") == "off"
    return pairs.get("path", "") if server else ""
