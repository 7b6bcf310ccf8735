"""The traits of a processor, by its features. `tests/accounting/test_trait_names.py` holds them against the library that names traits."""

from __future__ import annotations

from pinfold.core.processor_traits import processor_traits


def test_vendors_extensions_for_guests_in_guests_have_two_traits() -> None:
    assert processor_traits(("svm",)) == ("HW_CPU_X86_AMD_SVM", "HW_CPU_X86_SVM")
    assert processor_traits(("vmx", "nothing-known")) == ("HW_CPU_X86_INTEL_VMX", "HW_CPU_X86_VMX")
    assert processor_traits(("pclmuldq", "pclmulqdq")) == ("HW_CPU_X86_CLMUL",)
