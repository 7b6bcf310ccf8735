"""What a simulation says in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from pinfold.core.plural import count
from pinfold.core.request.model import EmulatorPolicy
from pinfold.simulation.model import GuestShape, Setting, SettingResult


def setting_text(setting: Setting) -> str:
    """Such as `share with 2 pCPUs`."""
    return setting.policy.value + (f" with {count(setting.pool_pcpus, 'pCPU')}" if setting.pool_pcpus else "")


def sentences(results: Sequence[SettingResult], shapes: Sequence[GuestShape]) -> tuple[str, ...]:
    """How `share` at its best pool compares with the other policies, by vCPUs when the first request is refused and in the end."""
    shared = [one for one in results if one.setting.policy is EmulatorPolicy.SHARE]
    if not shared:
        return ()
    best = max(shared, key=lambda one: (one.first.vcpus, one.full.vcpus, -one.setting.pool_pcpus))
    guests = f"{shapes[0].vcpus}-vCPU guests" if len({shape.vcpus for shape in shapes}) == 1 else "vCPUs of this mix"
    found = []
    for policy in (EmulatorPolicy.ISOLATE, EmulatorPolicy.UNSET):
        others = [one for one in results if one.setting.policy is policy]
        if others:
            other = max(others, key=lambda one: (one.first.vcpus, one.full.vcpus))
            first, full = _than(best.first.vcpus, other.first.vcpus), _than(best.full.vcpus, other.full.vcpus)
            pool = f"an overhead pool of {count(best.setting.pool_pcpus, 'pCPU')} on each host"
            found.append(
                f"share, with {pool}, holds {first} {guests} than {setting_text(other.setting)} on this fleet when the first request is "
                f"refused, and {full} when nothing fits any more."
            )
    return tuple(found)


def _than(one: int, other: int) -> str:
    """Such as `41 % more`.

    >>> _than(141, 100), _than(95, 100), _than(5, 0)
    ('41 % more', '5 % fewer', 'infinitely more')
    """
    if not other:
        return "infinitely more"
    share = round(100 * (one / other - 1))
    return f"{abs(share)} % {'fewer' if share < 0 else 'more'}"
