"""Merge flavor and image into one set of values, and refuse unknown keys and conflicts.

`values` reads single values; `policies`, `cells` and `compile` decide what they mean together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct

from pinfold.core.cpuset import MAX_CPU, CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request import values
from pinfold.core.request.aggregate_specs import check_operand
from pinfold.core.request.guest_hardware import PLAIN, GuestHardware
from pinfold.core.request.hardware import check_hardware, read_hardware
from pinfold.core.request.key_table import MAX_CELLS, Disposition, Key
from pinfold.core.request.keys import cell_index, find, find_image, flavor_spelling, general_name, is_image_only, is_ours, nearest
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, Image, PageKind, PageRequest, ThreadPolicy
from pinfold.core.request.values import SpecValue, shown

T = TypeVar("T")
Texts = Mapping[str, SpecValue[str]]

MAX_KEYS: Final = 512
MAX_KEY_LENGTH: Final = 255
MAX_VALUE_LENGTH: Final = 1024
MAX_MEMORY_MIB: Final = (1 << 31) - 1

_KEY_SHAPE: Final = re.compile(r"[A-Za-z0-9_.: -]+")
_TRAIT_SHAPE: Final = re.compile(r"[A-Z0-9_]+")


class EffectiveSpecs(Struct, frozen=True, kw_only=True):
    """The merged values of flavor and image, each with the name of its key; None if neither gives one.

    `numa_cpus` and `numa_mem_mib` are ordered by cell index. A realtime mask without realtime is omitted. `not_acted_upon` is ordered
    by name.
    """

    cpu_policy: SpecValue[CpuPolicy] | None = None
    thread_policy: SpecValue[ThreadPolicy] | None = None
    emulator_policy: SpecValue[EmulatorPolicy] | None = None
    dedicated_mask: SpecValue[CpuSet] | None = None
    realtime: SpecValue[bool] | None = None
    realtime_mask: SpecValue[CpuSet] | None = None
    numa_nodes: SpecValue[int] | None = None
    numa_cpus: tuple[tuple[int, SpecValue[CpuSet]], ...] = ()
    numa_mem_mib: tuple[tuple[int, SpecValue[int]], ...] = ()
    page: SpecValue[PageRequest] | None = None
    locked_memory: SpecValue[bool] | None = None
    sockets: SpecValue[int] | None = None
    cores: SpecValue[int] | None = None
    threads: SpecValue[int] | None = None
    resources_vcpu: SpecValue[int] | None = None
    resources_pcpu: SpecValue[int] | None = None
    max_sockets: SpecValue[int] | None = None
    max_cores: SpecValue[int] | None = None
    max_threads: SpecValue[int] | None = None
    hardware: GuestHardware = PLAIN
    traits: tuple[SpecValue[bool], ...] = ()
    """`value` is whether the trait is required; `name` is `trait:NAME`."""
    not_acted_upon: tuple[str, ...] = ()

    @property
    def is_realtime(self) -> bool:
        """Whether realtime was asked for."""
        return self.realtime is not None and self.realtime.value


def merge(flavor: Flavor, image: Image | None = None) -> EffectiveSpecs:
    """The merged values for a guest with this flavor and image. `flavor.vcpus` must be within its bounds.

    A value from only one of them holds. If both give one, they must mean the same. There are two exceptions: an image may name a page
    size only if the flavor leaves the choice, and an image's realtime mask has no effect without realtime. Without an
    image, the flavor may lack keys that its hardware needs: they may come with the image.

    Raises `InvalidRequest` for unknown, unsupported and malformed keys and for conflicts.

    >>> merge(Flavor(vcpus=2, memory_mib=512, extra_specs=(("hw:cpu_policy", "dedicated"),))).cpu_policy.value
    <CpuPolicy.DEDICATED: 'dedicated'>
    """
    ours, idle = _of_flavor(flavor)
    theirs, image_idle = _of_image(image if image is not None else Image())
    realtime = _one("hw:cpu_realtime", values.boolean, ours, theirs)
    mask, mask_idle = _realtime_mask(flavor.vcpus, realtime, ours, theirs)
    count = partial(values.whole_number, least=1, most=MAX_CPU + 1)
    amount = partial(values.whole_number, least=0, most=MAX_CPU + 2)
    one = partial(_one_of, ours, theirs)
    if image is not None:
        check_hardware(one)
    return EffectiveSpecs(
        cpu_policy=_one("hw:cpu_policy", values.cpu_policy, ours, theirs),
        thread_policy=_one("hw:cpu_thread_policy", values.thread_policy, ours, theirs),
        emulator_policy=_one("hw:emulator_threads_policy", values.emulator_policy, ours, theirs),
        dedicated_mask=_one("hw:cpu_dedicated_mask", partial(values.vcpu_mask, vcpus=flavor.vcpus), ours, theirs),
        realtime=realtime,
        realtime_mask=mask,
        numa_nodes=_one("hw:numa_nodes", partial(values.whole_number, least=1, most=MAX_CELLS), ours, theirs),
        numa_cpus=_per_cell("hw:numa_cpus.N", partial(values.vcpu_list, vcpus=flavor.vcpus), ours, theirs),
        numa_mem_mib=_per_cell("hw:numa_mem.N", partial(values.whole_number, least=1, most=MAX_MEMORY_MIB), ours, theirs),
        page=_page(ours, theirs),
        locked_memory=_one("hw:locked_memory", values.boolean, ours, theirs),
        sockets=_one("hw:cpu_sockets", count, ours, theirs),
        cores=_one("hw:cpu_cores", count, ours, theirs),
        threads=_one("hw:cpu_threads", count, ours, theirs),
        resources_vcpu=_one("resources:VCPU", amount, ours, theirs),
        resources_pcpu=_one("resources:PCPU", amount, ours, theirs),
        max_sockets=_most("hw:cpu_max_sockets", count, ours, theirs),
        max_cores=_most("hw:cpu_max_cores", count, ours, theirs),
        max_threads=_most("hw:cpu_max_threads", count, ours, theirs),
        hardware=read_hardware(one),
        traits=_traits(ours, theirs),
        not_acted_upon=tuple(sorted({*idle, *image_idle, *mask_idle})),
    )


def _of_flavor(flavor: Flavor) -> tuple[Texts, tuple[str, ...]]:
    """The flavor's texts by key, and the names of those that are not acted upon."""
    if len(flavor.extra_specs) > MAX_KEYS:
        raise InvalidRequest(f"the flavor has {len(flavor.extra_specs)} extra specs; at most {MAX_KEYS} are allowed")
    texts: dict[str, SpecValue[str]] = {}
    idle: list[str] = []
    for name, text in flavor.extra_specs:
        _check_shape(name, text)
        key = _known(name)
        if name in texts or name in idle:
            raise InvalidRequest(f"{name} stands twice in the flavor; it is allowed once", key=name)
        if _acted_upon(key, name, text):
            texts[name] = SpecValue(name=name, text=text, value=text)
        elif text.lower() not in key.harmless:
            idle.append(name)
    return texts, tuple(idle)


def _of_image(image: Image) -> tuple[Texts, tuple[str, ...]]:
    """The image's texts by the extra spec they mirror, and the names of those not acted upon. Unknown properties are in neither."""
    if len(image.properties) > MAX_KEYS:
        raise InvalidRequest(f"the image has {len(image.properties)} properties; at most {MAX_KEYS} are allowed")
    texts: dict[str, SpecValue[str]] = {}
    idle: list[str] = []
    for name, text in image.properties:
        key = find_image(name)
        if key is None and is_ours(name):
            raise _unknown(name, "image property")
        if key is None:
            # The property looks like one of ours but has no meaning in Nova. Ignore it as Nova does, and report it.
            idle.extend([name] if flavor_spelling(name) else [])
            continue
        if key.disposition is Disposition.DESCRIPTION:
            continue
        _check_shape(name, text)
        mirrored = f"{key.name.removesuffix('N')}{cell_index(name)}" if key.name.endswith(".N") else key.name
        mirrored = name if key.name == "trait:NAME" else mirrored
        if mirrored in texts:
            raise InvalidRequest(f"{name} stands twice in the image; it is allowed once", key=name)
        if _acted_upon(key, name, text):
            texts[mirrored] = SpecValue(name=name, text=text, value=text)
        elif text.lower() not in key.harmless:
            idle.append(name)
    return texts, tuple(idle)


def _check_shape(name: str, text: str) -> None:
    if len(name) > MAX_KEY_LENGTH or not _KEY_SHAPE.fullmatch(name):
        raise InvalidRequest(
            f"the key {shown(name)} is not one; it must be 1 to {MAX_KEY_LENGTH} ASCII letters, digits, blanks and any of '_.:-'",
            key=name,
        )
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidRequest(f"{name} has a value of {len(text)} characters; at most {MAX_VALUE_LENGTH} are allowed", key=name)
    if name.startswith("trait:") and not _TRAIT_SHAPE.fullmatch(name.removeprefix("trait:")):
        raise InvalidRequest(f"{name} names no trait; its name must be capital letters, digits and '_'", key=name)


def _known(name: str) -> Key:
    """The key of a flavor's extra spec. Raises `InvalidRequest` for an unknown one, with a similar known name."""
    meant = flavor_spelling(name)
    if not meant and is_image_only(name):
        raise InvalidRequest(f"{name} is an image property; no extra spec means the same, so set it on the image", key=name)
    if meant:
        raise InvalidRequest(f"{name} is an image property; in a flavor the key is {meant}", key=name)
    key = find(name)
    if key is None:
        raise _unknown(name, "extra spec")
    return key


def _unknown(name: str, what: str) -> InvalidRequest:
    near = nearest(name)
    hint = f"did you mean {near}?" if near else "it must be one of those in the reference of extra specs"
    return InvalidRequest(f"{name} is not a known {what}; {hint}", key=name)


def _acted_upon(key: Key, name: str, text: str) -> bool:
    """Whether pinfold acts upon the key. Raises `InvalidRequest` for an unsupported one, unless its value switches it off."""
    if key.disposition is Disposition.UNSUPPORTED:
        if key.name == "hw:mem_encryption" and not values.boolean(name, text):
            return False
        raise InvalidRequest(f"{name} is {shown(text)}, but it is not supported: {key.reason}", key=name)
    if key.disposition is Disposition.BY_SERVICE:
        check_operand(name, text)
    return key.disposition is Disposition.ACTED_UPON


def _read(key: str, read: Callable[[str, str], T], texts: Texts) -> SpecValue[T] | None:
    given = texts.get(key)
    return None if given is None else SpecValue(name=given.name, text=given.text, value=read(given.name, given.text))


def _one(key: str, read: Callable[[str, str], T], ours: Texts, theirs: Texts) -> SpecValue[T] | None:
    """The value on which flavor and image agree, or the only one given."""
    flavor, image = _read(key, read, ours), _read(key, read, theirs)
    if flavor is not None and image is not None and flavor.value != image.value:
        raise _disagree(flavor, image)
    return flavor if flavor is not None else image


def _one_of(ours: Texts, theirs: Texts, key: str, read: Callable[[str, str], T]) -> SpecValue[T] | None:
    return _one(key, read, ours, theirs)


def _most(key: str, read: Callable[[str, str], int], ours: Texts, theirs: Texts) -> SpecValue[int] | None:
    """The smaller limit. An image may lower the limit of a flavor, and not raise it."""
    flavor, image = _read(key, read, ours), _read(key, read, theirs)
    if flavor is not None and image is not None and image.value > flavor.value:
        raise InvalidRequest(f"{image.said()} in the image, but {flavor.said()} in the flavor; the image may only lower it", key=image.name)
    return flavor if image is None else image


def _disagree(flavor: SpecValue[T], image: SpecValue[T]) -> InvalidRequest:
    return InvalidRequest(
        f"{flavor.said()} in the flavor, but {image.said()} in the image; they must agree, or only one be set", key=flavor.name
    )


def _per_cell(key: str, read: Callable[[str, str], T], ours: Texts, theirs: Texts) -> tuple[tuple[int, SpecValue[T]], ...]:
    """The values of a key that is given per guest cell, by index. Where both have a list, the lists are equal."""
    flavor, image = _cells_of(key, read, ours), _cells_of(key, read, theirs)
    if flavor and image:
        for index in sorted({*flavor, *image}):
            if index not in flavor or index not in image:
                only, other = (flavor[index], "image") if index in flavor else (image[index], "flavor")
                raise InvalidRequest(
                    f"{only.said()}, but the {other} has other cells; both lists must agree, or only one be set", key=only.name
                )
            if flavor[index].value != image[index].value:
                raise _disagree(flavor[index], image[index])
    return tuple(sorted((flavor or image).items(), key=lambda item: item[0]))


def _cells_of(key: str, read: Callable[[str, str], T], texts: Texts) -> dict[int, SpecValue[T]]:
    cells: dict[int, SpecValue[T]] = {}
    for name, given in texts.items():
        if general_name(name) == key:
            if cell_index(name) >= MAX_CELLS:
                raise InvalidRequest(f"{given.said()}, but a guest has at most {MAX_CELLS} cells, 0 to {MAX_CELLS - 1}", key=given.name)
            cells[cell_index(name)] = SpecValue(name=given.name, text=given.text, value=read(given.name, given.text))
    return cells


def _page(ours: Texts, theirs: Texts) -> SpecValue[PageRequest] | None:
    """The page size. An image may narrow a flavor's `large` or `any`. It may not widen a choice, nor choose if the flavor does not."""
    flavor = _read("hw:mem_page_size", values.page_size, ours)
    image = _read("hw:mem_page_size", values.page_size, theirs)
    if image is None:
        return flavor
    if flavor is None:
        raise InvalidRequest(
            f"{image.said()} in the image, but the flavor has no hw:mem_page_size; there it must be large or any for an image to choose",
            key=image.name,
        )
    if flavor.value == image.value:
        return flavor
    if not _narrows(flavor.value, image.value):
        raise _disagree(flavor, image)
    return image


def _narrows(flavor: PageRequest, image: PageRequest) -> bool:
    if flavor.kind is PageKind.ANY:
        return True
    # 4 KiB is never a large page: it is the smallest page on every architecture.
    return flavor.kind is PageKind.LARGE and image.kind is PageKind.EXPLICIT and image.size_kib > 4


def _realtime_mask(
    vcpus: int, realtime: SpecValue[bool] | None, ours: Texts, theirs: Texts
) -> tuple[SpecValue[CpuSet] | None, tuple[str, ...]]:
    """The realtime mask, and the names of masks without effect because nothing is realtime."""
    key = "hw:cpu_realtime_mask"
    if realtime is not None and realtime.value:
        return _one(key, partial(values.vcpu_mask, vcpus=vcpus), ours, theirs), ()
    if realtime is None and key in ours:
        raise InvalidRequest(f"{ours[key].said()}, but hw:cpu_realtime is not set; the mask needs hw:cpu_realtime=true", key=key)
    return None, tuple(texts[key].name for texts in (ours, theirs) if key in texts)


def _traits(ours: Texts, theirs: Texts) -> tuple[SpecValue[bool], ...]:
    """The traits of flavor and image together, ordered by name. An image requires; it does not forbid."""
    for name, given in theirs.items():
        if name.startswith("trait:") and not values.required(name, given.text):
            raise InvalidRequest(f"{given.said()} in the image; there it must be required", key=name)
    names = sorted(name for name in {*ours, *theirs} if name.startswith("trait:"))
    found = (_one(name, values.required, ours, theirs) for name in names)
    return tuple(trait for trait in found if trait is not None)
