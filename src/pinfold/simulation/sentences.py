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
    found = []
    for policy in (EmulatorPolicy.ISOLATE, EmulatorPolicy.UNSET):
        others = [one for one in results if one.setting.policy is policy]
        if others:
            other = max(others, key=lambda one: (one.first.vcpus, one.full.vcpus))
            found.append(_comparison(best, other, shapes) + _difference(best, other))
    return tuple(found)


def _comparison(share: SettingResult, other: SettingResult, shapes: Sequence[GuestShape]) -> str:
    """What `share` holds against another policy: as a share of it, or in numbers where one of them holds nothing."""
    sizes = {shape.vcpus for shape in shapes}
    one_size = sizes.pop() if len(sizes) == 1 else None
    guests = f"{one_size}-vCPU guests" if one_size else "vCPUs of this mix"
    mine, theirs = ([state.vcpus // (one_size or 1) for state in (one.first, one.full)] for one in (share, other))
    if not (mine[1] or theirs[1]):
        return f"Neither share nor {setting_text(other.setting)} holds one guest of this mix on this fleet: no host has room for it."
    holds = f"share, with an overhead pool of {count(share.setting.pool_pcpus, 'pCPU')} on each host, holds"
    refused, end = "on this fleet when the first request is refused", "when nothing fits any more"
    if not all((*mine, *theirs)):
        numbers = f"{mine[0]:,} {guests} {refused}, and {mine[1]:,} {end}"
        return f"{holds} {numbers}; {setting_text(other.setting)} holds {theirs[0]:,} and {theirs[1]:,}."
    first, (more, _) = _than(mine[0], theirs[0]), _than(mine[1], theirs[1])
    return f"{holds} {first[0]} {guests} {first[1]} {setting_text(other.setting)} {refused}, and {more} {end}."


def _difference(share: SettingResult, other: SettingResult) -> str:
    """That the two are not asked for the same requests, where it is so."""
    mine, theirs = ([shape.shape for shape in one.left_out] for one in (share, other))
    if mine == theirs:
        return ""
    numbers = [f"{setting_text(one.setting)} leaves out {sum(shape.requests for shape in one.left_out):,}" for one in (share, other)]
    return f" They do not hold the same requests: {numbers[0]} of them and {numbers[1]}, which fit on no empty host."


def _than(one: int, other: int) -> tuple[str, str]:
    """How many more than the other, and how the other is joined to it.

    >>> _than(141, 100), _than(95, 100), _than(1004, 1000), _than(7, 7)
    (('41 % more', 'than'), ('5 % fewer', 'than'), ('less than 1 % more', 'than'), ('as many', 'as'))
    """
    if one == other:
        return "as many", "as"
    share = round(100 * abs(one / other - 1))
    return f"{f'{share} %' if share else 'less than 1 %'} {'fewer' if one < other else 'more'}", "than"
