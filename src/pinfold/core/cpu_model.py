"""The processor that guests of a host see, as the operator configures it (Nova's `[libvirt] cpu_mode` and its companions)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest


class CpuMode(Enum):
    """`[libvirt] cpu_mode`. DEFAULT is `host-model` for guests of KVM, and `none` for emulated ones."""

    DEFAULT = ""
    HOST_MODEL = "host-model"
    HOST_PASSTHROUGH = "host-passthrough"
    CUSTOM = "custom"
    NONE = "none"


class CpuFlag(Struct, frozen=True, kw_only=True):
    """A feature of the processor that guests get or do not get, whatever the model says."""

    name: str
    present: bool

    @property
    def policy(self) -> str:
        """The policy in libvirt's words."""
        return "require" if self.present else "disable"


class CpuModel(Struct, frozen=True, kw_only=True):
    """What guests see. `models` are for CUSTOM, the best first: a guest gets the first one that its host can give. `flags` come on top."""

    mode: CpuMode = CpuMode.DEFAULT
    models: tuple[str, ...] = ()
    flags: tuple[CpuFlag, ...] = ()


DEFAULT_CPU: Final = CpuModel()
"""What guests see where nothing is configured."""


def cpu_flag(text: str) -> CpuFlag:
    """A flag as Nova writes it: `avx2` and `+avx2` give a feature, `-avx2` takes it away. Raises `InvalidRequest`.

    >>> cpu_flag("+pcid").name, cpu_flag("-mtrr").policy
    ('pcid', 'disable')
    """
    name = text.strip().lower().removeprefix("+").removeprefix("-")
    if not name or not all(character.isalnum() or character in "-_." for character in name):
        raise InvalidRequest(
            f"{text[:64]!r} is no feature of a processor; a name such as pcid, +pcid or -pcid is", key="cpu_model_extra_flags"
        )
    return CpuFlag(name=name, present=not text.strip().startswith("-"))


def check_cpu_model(model: CpuModel) -> None:
    """Raise `InvalidRequest` for options that contradict each other: `key` is the option, the text what follows its value in a sentence."""
    if model.mode is CpuMode.CUSTOM and not model.models:
        raise InvalidRequest("needs cpu_models, the best model first", key="cpu_mode")
    if model.models and model.mode is not CpuMode.CUSTOM:
        raise InvalidRequest("needs cpu_mode = custom", key="cpu_models")
    if model.flags and model.mode is CpuMode.NONE:
        raise InvalidRequest("needs another cpu_mode than none", key="cpu_model_extra_flags")
