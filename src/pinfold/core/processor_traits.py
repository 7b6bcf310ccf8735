"""The standard traits of a processor: which trait stands for which feature. Pure.

The names of traits are those of the library os-traits, which every Placement knows. The features have the names of libvirt's `cpu_map`;
where its releases or QEMU have two names for one feature, both are here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

from msgspec import Meta

TraitName = Annotated[str, Meta(pattern=r"\A[A-Z0-9_]{1,255}\Z")]
TraitNames = Annotated[tuple[TraitName, ...], Meta(max_length=1024)]
"""The names of traits, ascending."""

_SAME_NAME: Final = (
    *("3dnow", "abm", "avx", "avx2", "f16c", "fma4", "mmx", "mpx", "pdpe1gb", "sse", "sse2", "sse4a", "ssse3", "stibp", "tbm", "xop"),
    *("avx512bitalg", "avx512bw", "avx512cd", "avx512dq", "avx512er", "avx512f", "avx512ifma", "avx512pf", "avx512vbmi", "avx512vbmi2"),
    *("avx512vl", "avx512vnni", "bmi2"),
)
_OTHER_NAME: Final = {
    "aes": ("AESNI",),
    "amd-no-ssb": ("AMD_NO_SSB",),
    "amd-ssbd": ("AMD_SSBD",),
    "amx-bf16": ("AMXBF16",),
    "amx-int8": ("AMXINT8",),
    "amx-tile": ("AMXTILE",),
    "avx512-vpopcntdq": ("AVX512VPOPCNTDQ",),
    "bmi1": ("BMI",),
    "fma": ("FMA3",),
    "gfni": ("AVX512GFNI",),
    "ibpb": ("AMD_IBPB",),
    "md-clear": ("INTEL_MD_CLEAR",),
    "pcid": ("INTEL_PCID",),
    "pclmuldq": ("CLMUL",),
    "pclmulqdq": ("CLMUL",),
    "pni": ("SSE3",),
    "sse3": ("SSE3",),
    "sha-ni": ("SHA",),
    "spec-ctrl": ("INTEL_SPEC_CTRL",),
    "ssbd": ("INTEL_SSBD",),
    "sse4.1": ("SSE41",),
    "sse4.2": ("SSE42",),
    "svm": ("SVM", "AMD_SVM"),
    "vaes": ("AVX512VAES",),
    "virt-ssbd": ("AMD_VIRT_SSBD",),
    "vmx": ("VMX", "INTEL_VMX"),
    "vpclmulqdq": ("AVX512VPCLMULQDQ",),
}
"""`svm` and `vmx` have two traits each: the general one of earlier releases of os-traits, and that of the vendor."""
_PREFIX: Final = "HW_CPU_X86_"

TRAITS_OF: Final = {
    feature: tuple(_PREFIX + name for name in names)
    for feature, names in ({name: (name.upper(),) for name in _SAME_NAME} | _OTHER_NAME).items()
}
"""The traits of each feature."""
PROCESSOR_TRAITS: Final = frozenset(name for names in TRAITS_OF.values() for name in names)
"""The traits that pinfold adds and removes on hosts whose agent reports the processor of their guests."""


def processor_traits(features: Collection[str]) -> tuple[str, ...]:
    """The traits of a processor with these features, ascending. Features without a trait are left out.

    >>> processor_traits(("avx2", "bmi1", "hypervisor"))
    ('HW_CPU_X86_AVX2', 'HW_CPU_X86_BMI')
    """
    return tuple(sorted({name for feature in features for name in TRAITS_OF.get(feature, ())}))
