"""The processor of new guests in domain XML, from what a libvirt 9.0 said of this kind of host (recorded), and by libvirt's own schema."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from tests.build.specs import SPECS

from pinfold.core.cpu_model import DEFAULT_CPU, CpuMode, CpuModel, cpu_flag
from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt import definition
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_cpu import HostCpu, element, host_cpu, words

RECORDED = Path(__file__).parent / "recorded"
KVM = host_cpu((RECORDED / "domain-capabilities-kvm.xml").read_text(encoding="utf-8"))
AMD = host_cpu((RECORDED / "domain-capabilities-kvm-amd.xml").read_text(encoding="utf-8"))
EMULATED = host_cpu((RECORDED / "domain-capabilities-qemu.xml").read_text(encoding="utf-8"))


def _text(wanted: CpuModel, virt_type: str = "kvm", host: HostCpu = KVM) -> str:
    return ElementTree.tostring(element(wanted, virt_type, host), encoding="unicode")


def test_a_guest_of_kvm_gets_the_model_and_the_features_that_libvirt_chose_written_out() -> None:
    text = _text(DEFAULT_CPU)
    start = '<cpu mode="custom" match="exact" check="partial"><model fallback="forbid">kvm64</model><vendor>Intel</vendor>'
    assert text.startswith(start)
    assert '<feature policy="require" name="gfni" />' in text
    assert '<feature policy="disable" name="pni" />' in text


def test_an_invariant_tsc_is_left_out_so_that_the_guest_can_be_saved() -> None:
    assert "invtsc" in (RECORDED / "domain-capabilities-kvm.xml").read_text(encoding="utf-8")
    assert "invtsc" not in _text(DEFAULT_CPU)


def test_a_register_that_amd_lacks_is_asked_for_in_no_mode_there() -> None:
    assert "arch-capabilities" in _text(DEFAULT_CPU), "Intel's processors have it"
    assert "arch-capabilities" not in _text(CpuModel(mode=CpuMode.HOST_PASSTHROUGH))
    written = _text(DEFAULT_CPU, host=AMD)
    assert '<model fallback="forbid">EPYC-Milan</model><vendor>AMD</vendor>' in written
    assert '<feature policy="require" name="cmp_legacy" />' in written
    assert "arch-capabilities" not in written
    assert "rdctl-no" not in written
    assert '<feature policy="disable" name="arch-capabilities" />' in _text(CpuModel(mode=CpuMode.HOST_PASSTHROUGH), host=AMD)
    asked = CpuModel(mode=CpuMode.HOST_PASSTHROUGH, flags=(cpu_flag("+arch-capabilities"),))
    assert '<feature policy="require" name="arch-capabilities" />' in _text(asked, host=AMD), "the operator's word wins"


def test_an_emulated_guest_has_qemus_default_processor() -> None:
    assert _text(DEFAULT_CPU, "qemu", EMULATED) == "<cpu />"
    assert _text(CpuModel(mode=CpuMode.NONE)) == "<cpu />"


def test_flags_come_on_top_and_win_over_the_model() -> None:
    text = _text(CpuModel(flags=(cpu_flag("-gfni"), cpu_flag("+pcid"))))
    assert '<feature policy="disable" name="gfni" />' in text
    assert text.count("gfni") == 1
    assert '<feature policy="require" name="pcid" />' in text
    passed = _text(CpuModel(mode=CpuMode.HOST_PASSTHROUGH, flags=(cpu_flag("-avx"),)))
    assert passed == '<cpu mode="host-passthrough" check="none"><feature policy="disable" name="avx" /></cpu>'


def test_the_first_model_that_the_host_can_give_is_taken() -> None:
    text = _text(CpuModel(mode=CpuMode.CUSTOM, models=("Skylake-Server", "pentium3", "pentium")))
    assert text == '<cpu mode="custom" match="exact" check="partial"><model fallback="forbid">pentium3</model></cpu>'


@pytest.mark.parametrize(
    ("wanted", "virt_type", "host", "said"),
    [
        (CpuModel(mode=CpuMode.CUSTOM, models=("EPYC", "Snowridge")), "kvm", KVM, "no processor of cpu_models (EPYC, Snowridge); it can"),
        (CpuModel(mode=CpuMode.HOST_PASSTHROUGH), "qemu", EMULATED, "cpu_mode is host-passthrough, but this guest does not run under KVM"),
        (CpuModel(mode=CpuMode.HOST_MODEL), "kvm", HostCpu(), "cpu_mode is host-model, but libvirt knows no model of this host"),
    ],
    ids=["models", "passthrough", "no model"],
)
def test_what_the_host_cannot_give_is_refused_by_name(wanted: CpuModel, virt_type: str, host: HostCpu, said: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _text(wanted, virt_type, host)
    assert said in str(error.value)


def test_many_features_are_counted_for_people() -> None:
    assert words(element(DEFAULT_CPU, "kvm", KVM)).startswith("kvm64 (+vme, +ss,")
    assert words(element(DEFAULT_CPU, "kvm", KVM)).endswith(" more features)")


@pytest.mark.parametrize("name", ["floating", "guest-topology", "two-cells-huge-pages"])
@pytest.mark.parametrize(
    "wanted",
    [
        CpuModel(mode=CpuMode.HOST_MODEL),
        CpuModel(mode=CpuMode.HOST_PASSTHROUGH, flags=(cpu_flag("-x2apic"),)),
        CpuModel(mode=CpuMode.CUSTOM, models=("pentium3",), flags=(cpu_flag("avx"),)),
    ],
    ids=["host-model", "host-passthrough", "custom"],
)
def test_topology_and_cells_stay_beside_the_processor(name: str, wanted: CpuModel, tmp_path: Path) -> None:
    bare = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))
    text = definition.definition(SPECS[name], replace(bare, cpu=wanted, host_cpu=KVM))
    before = ElementTree.fromstring(definition.definition(SPECS[name], bare)).find("cpu")
    after = ElementTree.fromstring(text).find("cpu")
    assert after is not None
    assert after.get("mode") in ("custom", "host-passthrough")
    kept = [ElementTree.tostring(child) for child in after if child.tag in ("topology", "numa")]
    assert [one.strip() for one in kept] == [ElementTree.tostring(child).strip() for child in (before if before is not None else ())]
    if shutil.which("xmllint") and shutil.which("virt-xml-validate"):
        (tmp_path / "domain.xml").write_text(text, encoding="utf-8")
        done = subprocess.run(["virt-xml-validate", tmp_path / "domain.xml", "domain"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
