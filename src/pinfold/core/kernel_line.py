"""Read the kernel's command line: which pCPUs `isolcpus`, `nohz_full` and `rcu_nocbs` name.

Source: the kernel's `admin-guide/kernel-parameters.rst`, "cpu lists".
"""

from __future__ import annotations

import re
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest

_FLAGS: Final = ("nohz", "domain", "managed_irq")
_GROUP: Final = re.compile("([0-9]{1,4})/0*([1-9][0-9]{0,3})")


def option(line: str, name: str) -> str | None:
    """The value of the last such option, '' for an option without one, None without the option.

    What follows `--` belongs to the init process. `-` and `_` are the same in names.

    >>> option("quiet rcu-nocbs=1-3 rcu_nocbs=2 -- rcu_nocbs=7", "rcu_nocbs"), option("quiet", "quiet"), option("", "quiet")
    ('2', '', None)
    """
    found = None
    for word in line.split():
        if word == "--":
            break
        key, _, value = word.replace('"', "").partition("=")
        if key.replace("-", "_") == name:
            found = value
    return found


def isolation(value: str) -> tuple[frozenset[str], str]:
    """The flags and the CPU list of an `isolcpus=`. Without flags it means `domain`.

    >>> isolation("managed_irq,domain,1-3,5") == (frozenset({"managed_irq", "domain"}), "1-3,5")
    True
    >>> isolation("1-3")
    (frozenset({'domain'}), '1-3')
    """
    parts = value.split(",")
    flags = frozenset(part for part in parts if part in _FLAGS)
    return flags or frozenset({"domain"}), ",".join(part for part in parts if part not in _FLAGS)


def cpu_list(value: str, last: int) -> CpuSet:
    """The pCPUs of a CPU list on the kernel's command line. `last` is the highest pCPU, which `N` stands for.

    The list is a cpulist or `all`, and may have groups: `0-31:1/4` is every fourth pCPU. Raises `InvalidRequest` for anything else.

    >>> cpu_list("1-N", 7), cpu_list("all", 3), cpu_list("0-15:2/4", 15), cpu_list("", 7)
    (CpuSet('1-7'), CpuSet('0-3'), CpuSet('0-1,4-5,8-9,12-13'), CpuSet(''))
    """
    if value == "all":
        return CpuSet.parse(f"0-{last}")
    mask = 0
    for item in value.split(","):
        cpus, _, group = item.replace("N", str(last)).partition(":")
        mask |= (CpuSet.parse(cpus) if not group else _group(CpuSet.parse(cpus), group, item)).mask
    return CpuSet.from_mask(mask)


def _group(cpus: CpuSet, group: str, item: str) -> CpuSet:
    found = _GROUP.fullmatch(group)
    if not cpus or found is None:
        raise InvalidRequest(f"{item[:60]!r} is no group of CPUs such as 0-31:1/4")
    used, size = int(found[1]), int(found[2])
    return CpuSet(cpu for cpu in cpus if (cpu - cpus.first) % size < used)
