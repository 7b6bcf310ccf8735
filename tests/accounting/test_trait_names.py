"""The traits of a processor, held against the library that names traits and against libvirt's list of features."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import os_traits
import pytest

from pinfold.core.processor_traits import PROCESSOR_TRAITS, processor_traits
from pinfold.core.traits import OWN_TRAITS

CPU_MAP = Path("/usr/share/libvirt/cpu_map/x86_features.xml")
WITHOUT_FEATURE = {"ASF", "SGX", "TSX", "AMD_SEV", "AMD_SEV_ES", "AMD_SEV_SNP", "INTEL_TDX"}
"""Traits that no single feature of the processor stands for; an operator may set them."""


def test_every_trait_of_a_processor_in_the_library_is_known_or_left_to_operators() -> None:
    named = frozenset(os_traits.get_traits(prefix="HW_CPU_X86_"))
    assert frozenset(f"HW_CPU_X86_{name}" for name in WITHOUT_FEATURE) == named - PROCESSOR_TRAITS
    assert named >= PROCESSOR_TRAITS
    assert not PROCESSOR_TRAITS & OWN_TRAITS


def test_every_trait_is_given_for_a_feature_that_libvirt_knows() -> None:
    if not CPU_MAP.exists():
        pytest.skip("libvirt's list of features is not installed")
    features = ElementTree.parse(CPU_MAP).getroot().iterfind("feature")
    assert frozenset(processor_traits([one.get("name", "") for one in features])) == PROCESSOR_TRAITS
