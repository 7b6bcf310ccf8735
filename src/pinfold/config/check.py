"""Find likely mistakes in configuration files that oslo.config accepts: unknown, misplaced and repeated keys.

`core.pools` checks pools against a host.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from pinfold.config import options_host
from pinfold.config.options import GROUPS
from pinfold.config.parse import Entry

_OURS = {group.name: tuple(opt.name for opt in group.options) for group in GROUPS}
_NOT_NOVAS = {group.name: tuple(name for name in _OURS[group.name] if name not in group.nova) for group in GROUPS}
_HOMES = {group.name: _OURS[group.name] if group.name == "compute" else _NOT_NOVAS[group.name] for group in options_host.GROUPS}
"""The groups with distinctive option names. The service's names (`port`, `password`) occur in many groups."""
_EXCLUSIVE = frozenset(group.name for group in GROUPS if group.exclusive)
_REPEATABLE = frozenset({"reserved_huge_pages"})

_NOVA_NEIGHBOURS = frozenset(
    {
        "max_concurrent_disk_ops",
        "max_disk_devices_to_attach",
        "reserved_host_cpus",
        "allocation_ratio",
        "connection_type",
        "snapshots_directory",
        "instances_path",
        "host_subset_size",
        "host_manager",
        "hostname",
    }
)
"""Nova's keys that resemble ours and are not mistakes."""


def misspelled(entries: Iterable[Entry]) -> tuple[str, ...]:
    """One sentence for each ignored key that looks like a mistake, in the order of the files.

    In `[overhead]` and `[pinfold]`, which Nova does not have, every unknown key is a mistake. In groups that Nova has too, a key is a
    mistake if it resembles an option of that group or is an option of another group; Nova's other keys are ignored.
    """
    found: list[str] = []
    for entry in entries:
        sentence = _slip(entry)
        if sentence and sentence not in found:
            found.append(sentence)
    return tuple(found)


def repeated(entries: Iterable[Entry]) -> tuple[str, ...]:
    """One sentence for each of our options that occurs twice in one file. The last line wins, which is seldom intended."""
    seen: set[tuple[str, str, str]] = set()
    found: list[str] = []
    for entry in entries:
        place = (entry.file, entry.group, entry.key)
        if place in seen and entry.key in _OURS.get(entry.group, ()) and entry.key not in _REPEATABLE:
            found.append(f"[{entry.group}] {entry.key} stands more than once in {entry.file}; the last line counts")
        seen.add(place)
    return tuple(dict.fromkeys(found))


def _slip(entry: Entry) -> str:
    where = f"[{entry.group}] {entry.key} in {entry.file}"
    if entry.group not in _OURS:
        near = get_close_matches(entry.group, _NOT_NOVAS, n=1, cutoff=0.8)
        ours = near and (near[0] in _EXCLUSIVE or entry.key in _OURS[near[0]])
        return f"{where} is ignored: there is no group [{entry.group}], [{near[0]}] is meant" if ours else ""
    if entry.key in _OURS[entry.group]:
        return ""
    home = next((group for group, names in _HOMES.items() if entry.key in names), None)
    if home is not None:
        return f"{where} is ignored: the option belongs into [{home}]"
    exclusive = entry.group in _EXCLUSIVE
    near = get_close_matches(entry.key, _OURS[entry.group], n=1, cutoff=0.6 if exclusive else 0.85)
    if near and entry.key not in _NOVA_NEIGHBOURS:
        return f"{where} is ignored: there is no such option, {near[0]} is meant"
    return f"{where} is ignored: there is no such option" if exclusive else ""
