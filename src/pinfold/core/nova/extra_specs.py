"""What the extra specs of a Nova flavor say about pinned vCPUs, as Nova reads them. Pure.

What an image asks for is not known here: `hw_cpu_policy` of an image pins the vCPUs of a flavor that names no CPU policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy
from pinfold.core.request.values import vcpu_mask

CPU_POLICY: Final = "hw:cpu_policy"
EMULATOR_POLICY: Final = "hw:emulator_threads_policy"
_DEDICATED_MASK: Final = "hw:cpu_dedicated_mask"
_REALTIME_MASK: Final = "hw:cpu_realtime_mask"
_AMOUNT: Final = re.compile(r"resources(?:[1-9][0-9]*)?:(VCPU|PCPU)")
_PINNED: Final = (CpuPolicy.DEDICATED.value, CpuPolicy.MIXED.value)


def amounts(extra_specs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """The VCPU and the PCPU that it asks for, in all groups of resources together. To ask for 0 is to ask for nothing.

    >>> amounts([("resources:PCPU", "2"), ("resources1:PCPU", "2"), ("resources:VCPU", "0")])
    (0, 4)
    """
    found = {"VCPU": 0, "PCPU": 0}
    for key, value in extra_specs:
        named = _AMOUNT.fullmatch(key)
        if named is not None and value.strip().isdecimal():
            found[named[1]] += int(value)
    return found["VCPU"], found["PCPU"]


def states_share(extra_specs: Iterable[tuple[str, str]]) -> bool:
    """Whether it states the emulator policy `share`, which has no effect on a guest without pinned vCPUs."""
    return dict(extra_specs).get(EMULATOR_POLICY) == EmulatorPolicy.SHARE.value


def pins(extra_specs: Iterable[tuple[str, str]]) -> bool:
    """Whether its guests have pinned vCPUs, whatever the image.

    Nova refuses `isolate` for a guest without pinned vCPUs, so a guest that is there has them. `share` says nothing.

    >>> pins([("hw:cpu_policy", "mixed")]), pins([("hw:emulator_threads_policy", "share")]), pins([("resources:PCPU", "0")])
    (True, False, False)
    """
    specs = dict(extra_specs)
    isolates = specs.get(EMULATOR_POLICY) == EmulatorPolicy.ISOLATE.value
    return specs.get(CPU_POLICY) in _PINNED or amounts(specs.items())[1] > 0 or isolates


def floating_vcpus(vcpus: int, extra_specs: Iterable[tuple[str, str]]) -> int:
    """How many vCPUs of a flavor with pinned vCPUs float over shared pCPUs: none unless it is mixed, or if its mask cannot be read.

    >>> floating_vcpus(8, [("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^2-7")])
    6
    >>> floating_vcpus(8, [("hw:cpu_policy", "dedicated")]), floating_vcpus(8, [("resources:PCPU", "2"), ("resources:VCPU", "6")])
    (0, 6)
    """
    specs = dict(extra_specs)
    shared, dedicated = amounts(specs.items())
    if shared and dedicated:
        return min(shared, vcpus - 1)
    mask = specs.get(_DEDICATED_MASK) or specs.get(_REALTIME_MASK)
    if specs.get(CPU_POLICY) != CpuPolicy.MIXED.value or mask is None:
        return 0
    try:
        return vcpus - len(vcpu_mask(_DEDICATED_MASK, mask, vcpus=vcpus))
    except InvalidRequest:
        return 0


def leaves_policy_to_image(extra_specs: Iterable[tuple[str, str]]) -> bool:
    """Whether it names no CPU policy in any way, so that an image may."""
    specs = dict(extra_specs)
    return not specs.get(CPU_POLICY) and amounts(specs.items()) == (0, 0)
